package front

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/sidecar/loop"
)

// A connection that is woken without a byte goes on waiting in the loop.
func TestWhatWaitsIsNotServedForNothing(t *testing.T) {
	rests := make(chan *Conn, 1)
	s, addr := lendingServer(t, func(*Conn) {}, func(c *Conn) {
		_ = c.WriteParts(nil, [][]byte{[]byte(okHead), []byte("hi")})
		c.GiveBack()
		rests <- c
	})
	client, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer func() { _ = client.Close() }()
	exchange(t, client)
	c := <-rests
	require.Equal(t, loop.Source, (*resting)(c).Handle(loop.Readable, time.Now()))
	require.Equal(t, 1, s.lending.loop.Load().Count())
	exchange(t, client)
	<-rests
}
