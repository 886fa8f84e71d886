package front

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/sidecar/hangup"
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

// A connection whose next request was read just before Shutdown is waited for until that
// is answered.
func TestShutdownWaitsForWhatIsServedAgain(t *testing.T) {
	second, goOn := make(chan struct{}), make(chan struct{})
	rests := make(chan *Conn)
	options := lendingOptions(func(*Conn) {}, func(c *Conn) {
		_ = c.WriteParts(nil, [][]byte{[]byte(okHead), []byte("hi")})
		(*serving)(c).finish()
		rests <- c
	})
	lend := options.Serve
	options.Serve = func(c *Conn, fault error) {
		if string(c.Head.Path) != "/second" {
			lend(c, fault)
			return
		}
		close(second)
		<-goOn
		c.CloseAfter()
		_ = c.WriteParts(nil, [][]byte{[]byte(okHead), []byte("hi")})
	}
	s, addr := startServer(t, options, hangup.Options{})
	client, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer func() { _ = client.Close() }()
	exchange(t, client)
	c := <-rests
	_, err = io.WriteString(client, "GET /second HTTP/1.1\r\nHost: u\r\n\r\n")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return c.watched.TryFill(&c.ahead) == nil }, patience, time.Millisecond)

	s.lending.turnAway()
	ended := make(chan struct{})
	go func() { s.lending.end(context.Background()); close(ended) }()
	go (*resting)(c).serve()
	<-second
	select {
	case <-ended:
		t.Fatal("it was not waited for")
	case <-time.After(50 * time.Millisecond):
	}
	close(goOn)
	<-ended
	answer := make([]byte, len(okHead)+2)
	_, err = io.ReadFull(client, answer)
	require.NoError(t, err)
}

// A Shutdown that comes before Serve leaves nothing behind.
func TestServeAfterShutdown(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ln, err := hangup.Listen(inner, hangup.Options{})
	require.NoError(t, err)
	defer ln.Shutdown()
	s := New(Options{ReadTimeout: time.Minute, MaxConnections: 1})
	require.NoError(t, s.Shutdown(t.Context()))
	require.NoError(t, s.Serve(ln))
	require.Nil(t, s.lending.loop.Load())
	_, err = net.Dial("tcp", inner.Addr().String())
	require.Error(t, err)
}

// A panic while a connection is given back, or while it waits, is reported and ends that
// connection alone.
func TestPanicsOfGivenBackConnections(t *testing.T) {
	for name, fail := range map[string]func(*Conn){
		"given back": func(c *Conn) {
			c.Conn = &secureConn{Conn: tls.Server(c.Conn, nil)} // which knows no socket
			c.GiveBack()
		},
		"waits": func(c *Conn) { (*resting)(c).Ended(&loop.Fault{Value: "a fault of ours"}) },
	} {
		t.Run(name, func(t *testing.T) {
			told := make(chan any, 1)
			options := lendingOptions(func(*Conn) {}, func(c *Conn) {
				_ = c.WriteParts(nil, [][]byte{[]byte(okHead), []byte("hi")})
				fail(c)
			})
			options.Panicked = func(fault any, _ []byte) { told <- fault }
			s, addr := startServer(t, options, hangup.Options{})
			client, err := net.Dial("tcp", addr)
			require.NoError(t, err)
			defer func() { _ = client.Close() }()
			_, err = io.WriteString(client, "GET /x HTTP/1.1\r\nHost: u\r\n\r\n")
			require.NoError(t, err)
			require.NotNil(t, <-told)
			require.Eventually(t, func() bool { return openOn(s) == 0 }, patience, time.Millisecond)
		})
	}
}
