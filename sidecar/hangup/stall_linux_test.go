package hangup

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// flood writes to c until that fails, and returns the error.
func flood(c net.Conn) <-chan error {
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := c.Write(make([]byte, 16<<10)); err != nil {
				ended <- err
				return
			}
		}
	}()
	return ended
}

// A client that takes nothing is cut within WriteTimeout and a quarter more, and not
// before, and its call is told.
func TestStalledClientIsCut(t *testing.T) {
	t.Parallel()
	const timeout = 400 * time.Millisecond
	server, _ := pair(t, listen(t, Options{WriteTimeout: timeout}))
	var told atomic.Int32
	server.Watch(callFunc(func() {
		require.True(t, server.Stalled(), "known before the call is told")
		told.Add(1)
	}))
	began := time.Now()
	require.ErrorIs(t, <-flood(server), net.ErrClosed)
	require.GreaterOrEqual(t, time.Since(began), timeout)
	require.Less(t, time.Since(began), 25*timeout)
	require.True(t, server.Stalled())
	require.EqualValues(t, 1, told.Load())
}

// A client that is sent nothing may be silent for as long as it likes.
func TestSilenceIsNoStall(t *testing.T) {
	t.Parallel()
	const timeout = 100 * time.Millisecond
	server, client := pair(t, listen(t, Options{WriteTimeout: timeout}))
	_, err := server.Write([]byte("x"))
	require.NoError(t, err)
	time.Sleep(5 * timeout)
	_, err = client.Read(make([]byte, 1))
	require.NoError(t, err)
	require.False(t, server.Stalled())
}

type callFunc func()

func (f callFunc) ClientGone() { f() }
