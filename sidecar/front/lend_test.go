//go:build darwin || linux

package front

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
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
	options := lendingOptions(before, answer)
	options.IdleTimeout = idle
	return startServer(t, options, o)
}

func lendingOptions(before, answer func(*Conn)) Options {
	return Options{
		Serve: func(c *Conn, fault error) {
			if fault != nil || !c.CanLend() {
				c.CloseAfter()
				return
			}
			c.Head.Release()
			c.Lend(func() { go answer(c) })
			before(c)
		},
		HealthCheck:      func(string) (Answer, bool) { return Answer{}, false },
		HandshakeTimeout: time.Minute,
	}
}

// overTCPAndTLS runs a test with a server and a client connected to it, without TLS and
// with it.
func overTCPAndTLS(t *testing.T, o Options, test func(t *testing.T, s *Server, client net.Conn)) {
	t.Helper()
	for name, secure := range map[string]bool{"TCP": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			o := o
			if secure {
				o.TLS = serverConfig(t)
			}
			s, addr := startServer(t, o, hangup.Options{})
			client, err := net.Dial("tcp", addr)
			require.NoError(t, err)
			defer func() { _ = client.Close() }()
			_ = client.SetDeadline(time.Now().Add(20 * time.Second))
			if secure {
				client = tls.Client(client, &tls.Config{InsecureSkipVerify: true, DynamicRecordSizingDisabled: true})
			}
			test(t, s, client)
		})
	}
}

// A connection that was lent is served again once it is given back, with what the client
// has sent meanwhile: over TLS also with bytes that were read along with the request, of
// which the socket tells nothing any more.
func TestLentConnectionsAreServedAgain(t *testing.T) {
	options := lendingOptions(func(*Conn) {}, func(c *Conn) {
		_ = c.WriteParts(nil, [][]byte{[]byte(okHead), []byte("hi")})
		c.GiveBack()
	})
	overTCPAndTLS(t, options, func(t *testing.T, s *Server, client net.Conn) {
		in := bufio.NewReader(client)
		// As long as one read, so that nothing shows that another request follows.
		request := "GET /x HTTP/1.1\r\nHost: u\r\nX-Pad: \r\n\r\n"
		request = strings.Replace(request, "\r\n\r\n", strings.Repeat("x", 8<<10-len(request))+"\r\n\r\n", 1)
		for _, pipelined := range []int{1, 1, 2, 3, 1} {
			_, err := io.WriteString(client, strings.Repeat(request, pipelined))
			require.NoError(t, err)
			for range pipelined {
				answer := make([]byte, len(okHead)+2)
				_, err = io.ReadFull(in, answer)
				require.NoError(t, err)
				require.Equal(t, okHead+"hi", string(answer))
			}
			require.Eventually(t, func() bool { return openOn(s) == 1 }, 10*time.Second, time.Millisecond)
		}
	})
}

// The function given to Lend is always called, even if the connection was closed before:
// otherwise its request would never end.
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
		t.Fatal("begin was never called")
	}
	require.Eventually(t, func() bool { return openOn(s) == 0 }, 10*time.Second, time.Millisecond)
}

// Shutdown waits for lent connections, and closes those that were given back and wait.
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
		t.Fatal("Shutdown did not wait")
	case <-time.After(50 * time.Millisecond):
	}
	close(goOn)
	require.NoError(t, <-down)
	_ = client.SetDeadline(time.Now().Add(10 * time.Second))
	got, err := io.ReadAll(client)
	require.NoError(t, err)
	require.Equal(t, okHead+"hi", string(got))
}

// A connection that was given back and waits is closed after the idle time-out, to make
// room, and when its client leaves; nothing of it is left.
func TestWhatWaitsIsClosed(t *testing.T) {
	answer := func(c *Conn) {
		_ = c.WriteParts(nil, [][]byte{[]byte(okHead), []byte("hi")})
		c.GiveBack()
	}
	for name, test := range map[string]struct {
		idle time.Duration
		most int
		do   func(t *testing.T, client net.Conn, another func() net.Conn)
		left int
	}{
		"idle": {300 * time.Millisecond, 0, func(*testing.T, net.Conn, func() net.Conn) {}, 0},
		"its place is wanted": {time.Minute, 1, func(t *testing.T, _ net.Conn, another func() net.Conn) {
			exchange(t, another())
		}, 1},
		"the client leaves": {time.Minute, 0, func(_ *testing.T, client net.Conn, _ func() net.Conn) {
			_ = client.(interface{ CloseWrite() error }).CloseWrite()
		}, 0},
	} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, TLS %t", name, secure), func(t *testing.T) {
				options := lendingOptions(func(*Conn) {}, answer)
				options.IdleTimeout = test.idle
				dial := func(addr string) (net.Conn, error) { return net.Dial("tcp", addr) }
				if secure {
					options.TLS = serverConfig(t)
					dial = func(addr string) (net.Conn, error) {
						return tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
					}
				}
				s, addr := startServer(t, options, hangup.Options{MaxConnections: test.most})
				client, err := dial(addr)
				require.NoError(t, err)
				defer func() { _ = client.Close() }()
				exchange(t, client)
				test.do(t, client, func() net.Conn {
					other, err := dial(addr)
					require.NoError(t, err)
					t.Cleanup(func() { _ = other.Close() })
					return other
				})
				_ = client.SetReadDeadline(time.Now().Add(20 * time.Second))
				rest, err := io.ReadAll(client)
				require.NoError(t, err)
				require.Empty(t, rest, "it should be closed without an answer")
				require.Eventually(t, func() bool { return openOn(s) == test.left }, 10*time.Second, time.Millisecond)
			})
		}
	}
}

// What is not a request does not extend the time for one.
func TestEmptyLinesExtendNoIdleTime(t *testing.T) {
	options := lendingOptions(func(*Conn) {}, func(c *Conn) {
		_ = c.WriteParts(nil, [][]byte{[]byte(okHead), []byte("hi")})
		c.GiveBack()
	})
	options.IdleTimeout = 400 * time.Millisecond
	overTCPAndTLS(t, options, func(t *testing.T, s *Server, client net.Conn) {
		exchange(t, client)
		require.Eventually(t, func() bool {
			_, err := io.WriteString(client, "\r\n")
			return err != nil && openOn(s) == 0
		}, 10*time.Second, 50*time.Millisecond, "the connection is never closed")
	})
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
