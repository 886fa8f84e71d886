package hangup

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// ways are the ways in which clients leave.
var ways = map[string]func(*net.TCPConn){
	"close":      func(c *net.TCPConn) { _ = c.Close() },
	"half-close": func(c *net.TCPConn) { _ = c.CloseWrite() },
	"reset": func(c *net.TCPConn) {
		_ = c.SetLinger(0)
		_ = c.Close()
	},
	"close behind bytes nobody read": func(c *net.TCPConn) {
		_, _ = c.Write(make([]byte, 32<<10))
		_ = c.Close()
	},
}

// TestEveryWayOfLeavingIsNoticedInEveryState also checks what Unwatch promises.
func TestEveryWayOfLeavingIsNoticedInEveryState(t *testing.T) {
	ln := listen(t, Options{})
	for name, leave := range ways {
		t.Run(name+", while watched", func(t *testing.T) {
			server, client := pair(t, ln)
			call := newRecorder()
			server.Watch(call)
			require.False(t, server.Gone())
			leave(client)
			<-call.told
			server.Unwatch()
			require.True(t, server.Gone())
			require.Empty(t, call.told)
		})
		t.Run(name+", before Watch", func(t *testing.T) {
			server, client := pair(t, ln)
			leave(client)
			awaitGone(server)
			call := newRecorder()
			server.Watch(call)
			require.Len(t, call.told, 1, "told before Watch returns")
			server.Unwatch()
			require.Len(t, call.told, 1)
		})
		t.Run(name+", after Unwatch", func(t *testing.T) {
			server, client := pair(t, ln)
			call := newRecorder()
			server.Watch(call)
			server.Unwatch()
			leave(client)
			awaitGone(server)
			require.Empty(t, call.told)
		})
		t.Run(name+", while another call is watched", func(t *testing.T) {
			server, client := pair(t, ln)
			first, second := newRecorder(), newRecorder()
			server.Watch(first)
			server.Watch(second)
			leave(client)
			<-second.told
			require.Empty(t, first.told)
		})
	}
}

func TestFurtherCallsOfAKeptConnectionAreToldToo(t *testing.T) {
	server, client := pair(t, listen(t, Options{}))
	early := newRecorder()
	for range 10_000 {
		server.Watch(early)
		server.Unwatch()
	}
	last := newRecorder()
	server.Watch(last)
	_ = client.Close()
	<-last.told
	require.Empty(t, early.told)
	require.EqualValues(t, 1, server.listener.Stats().HangUps)
}

// TestAFinBehindAFullWindowIsNoticedByWriting checks the limit that the package comment
// names: nothing reports the FIN, but the first write finds it.
func TestAFinBehindAFullWindowIsNoticedByWriting(t *testing.T) {
	server, client := pair(t, listen(t, Options{}))
	require.NoError(t, server.SetReadBuffer(8<<10))
	require.NoError(t, client.SetWriteBuffer(4<<20))
	raw, err := client.SyscallConn()
	require.NoError(t, err)
	sent := 0
	require.NoError(t, raw.Write(func(fd uintptr) bool { // until the kernel takes no more
		for {
			n, err := writeNow(int(fd), make([]byte, 64<<10))
			if err != nil {
				return true
			}
			sent += n
		}
	}))
	require.Greater(t, sent, 128<<10)
	call := newRecorder()
	server.Watch(call)
	_ = client.Close()
	_, _ = server.Write([]byte("data: token\n\n"))
	<-call.told
	server.Unwatch()
}

// slow is a Call whose ClientGone takes a while.
type slow struct {
	entered chan struct{}
	done    atomic.Bool
}

func (s *slow) ClientGone() {
	close(s.entered)
	for range 1000 {
		runtime.Gosched()
	}
	s.done.Store(true)
}

func TestUnwatchWaitsForClientGone(t *testing.T) {
	ln := listen(t, Options{})
	for range 20 {
		server, client := pair(t, ln)
		call := &slow{entered: make(chan struct{})}
		server.Watch(call)
		_ = client.Close()
		<-call.entered
		server.Unwatch()
		require.True(t, call.done.Load())
	}
}

// TestTLS: the watched connection lies beneath, and a close_notify alone does not mean
// that the client left.
func TestTLS(t *testing.T) {
	config := certificate(t)
	server, client := pair(t, listen(t, Options{}))
	secure, insecure := tls.Server(server, config), tls.Client(client, config)
	handshake := make(chan error)
	go func() { handshake <- insecure.Handshake() }()
	require.NoError(t, secure.Handshake())
	require.NoError(t, <-handshake)

	require.Same(t, server, From(secure))
	call := newRecorder()
	server.Watch(call)
	require.NoError(t, insecure.CloseWrite())
	_, err := secure.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF, "close_notify has come")
	require.Empty(t, call.told)
	require.False(t, server.Gone())
	_ = client.Close()
	<-call.told
}

func TestWatchingCostsNoAllocation(t *testing.T) {
	server, _ := pair(t, listen(t, Options{}))
	call := newRecorder()
	require.Zero(t, testing.AllocsPerRun(100, func() {
		server.Watch(call)
		server.Unwatch()
	}))
}

func ExampleConn_Watch() {
	inner, _ := net.Listen("tcp", "127.0.0.1:0")
	ln, _ := Listen(inner, Options{})
	defer ln.Shutdown()

	client, _ := net.Dial("tcp", ln.Addr().String())
	server, _ := ln.Accept()
	call := newRecorder()
	From(server).Watch(call)
	_ = client.Close() // while the handler is busy
	<-call.told
	From(server).Unwatch()
	fmt.Println("stop the work")
	// Output: stop the work
}
