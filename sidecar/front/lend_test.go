//go:build darwin || linux

package front

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/sidecar/hangup"
)

const okHead = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"

// lendingServer lends each connection; answer is what is done with it then.
func lendingServer(t *testing.T, before, answer func(*Conn)) (s *Server, addr string) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ln, err := hangup.Listen(inner, hangup.Options{})
	require.NoError(t, err)
	s = New(Options{
		Serve: func(c *Conn, fault error) {
			if fault != nil || !c.CanLend() {
				c.CloseAfter()
				return
			}
			c.ReleaseHead()
			c.Lend(func() { go answer(c) })
			before(c)
		},
		Aside:       func(string) (Answer, bool) { return Answer{}, false },
		Closing:     func() bool { return false },
		ReadTimeout: time.Minute, IdleTimeout: time.Minute, MaxConnections: 100,
	})
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, s.Shutdown(ctx))
		ln.Shutdown()
		require.NoError(t, <-served)
	})
	return s, ln.Addr().String()
}

// A connection that was lent is served again once it is given back, with what the
// client has sent meanwhile.
func TestLentConnectionsAreServedAgain(t *testing.T) {
	s, addr := lendingServer(t, func(*Conn) {}, func(c *Conn) {
		_ = c.WriteParts(nil, [][]byte{[]byte(okHead), []byte("hi")})
		c.GiveBack()
	})
	client, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer func() { _ = client.Close() }()
	_ = client.SetDeadline(time.Now().Add(20 * time.Second))
	in := bufio.NewReader(client)
	const request = "GET /x HTTP/1.1\r\nHost: u\r\n\r\n"
	for _, pipelined := range []int{1, 1, 3, 1} {
		for range pipelined {
			_, err = io.WriteString(client, request)
			require.NoError(t, err)
		}
		for range pipelined {
			answer := make([]byte, len(okHead)+2)
			_, err = io.ReadFull(in, answer)
			require.NoError(t, err)
			require.Equal(t, okHead+"hi", string(answer))
		}
		require.Eventually(t, func() bool { return s.Open() == 1 }, 10*time.Second, time.Millisecond)
	}
	_, err = io.WriteString(client, "GET /x HTTP/1.1\r\nHost: u\r\nConnection: close\r\n\r\n")
	require.NoError(t, err)
}

// What lends a connection is always told to begin, even where the connection was
// closed before: else its request would never end.
func TestLendOfAClosedConnection(t *testing.T) {
	begun := make(chan struct{}, 1)
	s, addr := lendingServer(t, func(c *Conn) { _ = c.watched.Close() }, func(c *Conn) {
		begun <- struct{}{}
		c.GiveBack()
	})
	client, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer func() { _ = client.Close() }()
	_, err = fmt.Fprint(client, "GET /x HTTP/1.1\r\nHost: u\r\n\r\n")
	require.NoError(t, err)
	select {
	case <-begun:
	case <-time.After(10 * time.Second):
		t.Fatal("it was never begun")
	}
	require.Eventually(t, func() bool { return s.Open() == 0 }, 10*time.Second, time.Millisecond)
}

// Shutdown waits for what is lent, and closes what was given back and waits.
func TestShutdownWaitsForWhatIsLent(t *testing.T) {
	goOn := make(chan struct{})
	s, addr := lendingServer(t, func(*Conn) {}, func(c *Conn) {
		<-goOn
		_ = c.WriteParts(nil, [][]byte{[]byte(okHead), []byte("hi")})
		c.GiveBack()
	})
	client, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer func() { _ = client.Close() }()
	_, err = fmt.Fprint(client, "GET /x HTTP/1.1\r\nHost: u\r\n\r\n")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return s.lending.lent.Load() == 1 }, 10*time.Second, time.Millisecond)
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(context.Background()) }()
	select {
	case <-down:
		t.Fatal("it did not wait")
	case <-time.After(50 * time.Millisecond):
	}
	close(goOn)
	require.NoError(t, <-down)
	_ = client.SetDeadline(time.Now().Add(10 * time.Second))
	got, err := io.ReadAll(client)
	require.NoError(t, err)
	require.Equal(t, okHead+"hi", string(got))
}
