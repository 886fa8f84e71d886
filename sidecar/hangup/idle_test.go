package hangup

import (
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/sidecar/socket"
)

// speak sends a byte from the client to the server, after which the connection is busy.
func speak(t *testing.T, server *Conn, client net.Conn) {
	t.Helper()
	_, err := client.Write([]byte{1})
	require.NoError(t, err)
	n, err := server.Read(make([]byte, 8))
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

// closed waits until the client sees the end of the connection.
func closed(t *testing.T, client net.Conn) {
	t.Helper()
	_, err := client.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}

// At the limit, the connection that has rested for longest makes room at once; its Read
// ends as if the client had gone. Connections that are busy, have an unread byte, or were
// just accepted are kept.
func TestTheLongestIdleMakesRoom(t *testing.T) {
	ln := listen(t, Options{MaxConnections: 5})
	var servers []*Conn
	var clients []net.Conn
	for i := range 4 {
		server, client := pair(t, ln)
		servers, clients = append(servers, server), append(clients, client)
		speak(t, servers[i], clients[i])
	}
	for _, i := range []int{2, 0, 1} { // the fourth is busy
		servers[i].Rest(0)
	}
	_, err := clients[2].Write([]byte{1})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return !silent(&servers[2].sock) }, 10*time.Second, time.Millisecond)

	pair(t, ln) // silent, but new
	for evicted, i := range []int{0, 1} {
		read := make(chan error)
		go func() {
			_, err := servers[i].Read(make([]byte, 1))
			read <- err
		}()
		runtime.Gosched()
		pair(t, ln)
		require.ErrorIs(t, <-read, io.EOF)
		closed(t, clients[i])
		require.EqualValues(t, evicted+1, ln.Stats().Evicted)
	}
	require.Equal(t, 5, ln.Stats().Open)
	speak(t, servers[3], clients[3])
	n, err := servers[2].Read(make([]byte, 1))
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

// If all connections are busy, a new one is let in when one comes to rest.
func TestANewcomerWaitsForOneToRest(t *testing.T) {
	ln := listen(t, Options{MaxConnections: 1})
	server, client := pair(t, ln)
	speak(t, server, client)
	dial(t, ln)
	accepted := make(chan *Conn)
	go func() {
		c, _ := ln.Accept()
		accepted <- c.(*Conn)
	}()
	require.Eventually(t, func() bool { return ln.seats.crowded.Load() == 1 }, 10*time.Second, time.Millisecond)
	select {
	case <-accepted:
		require.Fail(t, "a busy connection was closed")
	default:
	}
	server.Rest(0)
	next := <-accepted
	closed(t, client)
	_, err := server.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	server.Rest(0) // changes nothing any more
	require.NoError(t, next.Close())
}

// A connection that has sent nothing since it was accepted is kept for a second, and no
// longer if others wait.
func TestASilentNewcomerMakesRoom(t *testing.T) {
	t.Parallel()
	ln := listen(t, Options{MaxConnections: 1})
	began := time.Now()
	_, client := pair(t, ln)
	pair(t, ln)
	require.GreaterOrEqual(t, time.Since(began), newcomerGrace)
	closed(t, client)
}

// A connection whose call is being watched stays, even after Rest.
func TestAWatchedCallKeepsItsConnection(t *testing.T) {
	ln := listen(t, Options{MaxConnections: 1})
	server, _ := pair(t, ln)
	server.Rest(0)
	server.Watch(newRecorder())
	done, _ := ln.seats.evict()
	require.False(t, done)
	server.Unwatch()
	done, _ = ln.seats.evict()
	require.True(t, done)
}

// If no descriptors are left, an idle connection is closed to free one.
func TestExhaustedDescriptorsEvict(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	failing := &flaky{inner.(*net.TCPListener), nil}
	ln, err := Listen(failing, Options{})
	require.NoError(t, err)
	t.Cleanup(ln.Shutdown)
	server, client := pair(t, ln)
	server.Rest(0)
	failing.errs = []error{&net.OpError{Op: "accept", Err: syscall.EMFILE}}
	pair(t, ln)
	closed(t, client)
}

// FillAhead ends a rest as Read does, and leaves nothing ahead if the connection was
// evicted.
func TestReadingAheadEndsARest(t *testing.T) {
	ln := listen(t, Options{MaxConnections: 1})
	server, client := pair(t, ln)
	ahead := socket.NewAhead(&sync.Pool{New: func() any { b := make([]byte, 8); return &b }})
	server.Rest(0)
	_, err := client.Write([]byte{1})
	require.NoError(t, err)
	require.NoError(t, ahead.Fill(server))
	require.Equal(t, []byte{1}, ahead.Bytes())
	done, _ := ln.seats.evict()
	require.False(t, done, "it is busy")

	ahead.Release()
	server.Rest(0)
	done, _ = ln.seats.evict()
	require.True(t, done)
	require.Equal(t, io.EOF, ahead.Fill(server))
	require.True(t, ahead.Empty())
}

// Bytes that were read while the connection was evicted are not served: it is about to be
// closed, and the answer would be lost after its ticket was spent.
func TestAnEvictedConnectionStaysEvicted(t *testing.T) {
	server, _ := pair(t, listen(t, Options{}))
	server.Rest(0)
	since := server.idle.Load()
	require.True(t, server.evict(since))
	n, err := server.idle.woke(1, nil)
	require.Zero(t, n)
	require.ErrorIs(t, err, io.EOF)
	require.False(t, server.evict(since))
}
