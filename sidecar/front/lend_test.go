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

// lendingServer lends each connection; answer is what is done with it then.
func lendingServer(t *testing.T, before, answer func(*Conn)) (s *Server, addr string) {
	t.Helper()
	return lendingServerWith(t, time.Minute, hangup.Options{}, before, answer)
}

func lendingServerWith(t *testing.T, idle time.Duration, o hangup.Options, before, answer func(*Conn)) (s *Server, addr string) {
	t.Helper()
	return startServer(t, Options{
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
		IdleTimeout: idle,
	}, o)
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

// A connection that was given back and waits is closed when nothing comes for too
// long, when its place is wanted, and when its client leaves: nothing of it stays.
func TestWhatWaitsIsClosed(t *testing.T) {
	answer := func(c *Conn) {
		_ = c.WriteParts(nil, [][]byte{[]byte(okHead), []byte("hi")})
		c.GiveBack()
	}
	for name, test := range map[string]struct {
		idle time.Duration
		most int
		do   func(t *testing.T, client net.Conn, addr string)
		left int
	}{
		"idle": {300 * time.Millisecond, 0, func(*testing.T, net.Conn, string) {}, 0},
		"its place is wanted": {time.Minute, 1, func(t *testing.T, _ net.Conn, addr string) {
			other, err := net.Dial("tcp", addr)
			require.NoError(t, err)
			t.Cleanup(func() { _ = other.Close() })
			exchange(t, other)
		}, 1},
		"the client leaves": {time.Minute, 0, func(_ *testing.T, client net.Conn, _ string) {
			_ = client.(*net.TCPConn).CloseWrite()
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, addr := lendingServerWith(t, test.idle, hangup.Options{MaxConnections: test.most}, func(*Conn) {}, answer)
			client, err := net.Dial("tcp", addr)
			require.NoError(t, err)
			defer func() { _ = client.Close() }()
			exchange(t, client)
			test.do(t, client, addr)
			_ = client.SetReadDeadline(time.Now().Add(20 * time.Second))
			rest, err := io.ReadAll(client)
			require.NoError(t, err)
			require.Empty(t, rest, "without a word")
			require.Eventually(t, func() bool { return s.Open() == test.left }, 10*time.Second, time.Millisecond)
		})
	}
}

func exchange(t *testing.T, client net.Conn) {
	t.Helper()
	_ = client.SetDeadline(time.Now().Add(20 * time.Second))
	_, err := io.WriteString(client, "GET /x HTTP/1.1\r\nHost: u\r\n\r\n")
	require.NoError(t, err)
	got := make([]byte, len(okHead)+2)
	_, err = io.ReadFull(client, got)
	require.NoError(t, err)
	require.Equal(t, okHead+"hi", string(got))
}
