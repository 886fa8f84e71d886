package hangup

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// writeNow writes without waiting.
func writeNow(fd int, p []byte) (int, error) { return unix.Write(fd, p) }

// option reads a socket option of c.
func option(t *testing.T, c *Conn, level, name int) (value int) {
	t.Helper()
	raw, err := c.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { value, err = unix.GetsockoptInt(int(fd), level, name) }))
	require.NoError(t, err)
	return value
}

func TestSocketOptions(t *testing.T) {
	for name, test := range map[string]struct {
		options                      Options
		alive, idle, interval, count int
	}{
		"default": {Options{}, 1, 15, 5, 3},
		"set": {Options{KeepAlive: 10500 * time.Millisecond, WriteTimeout: time.Minute + 1},
			1, 11, 4, 12},
		"as long as it may take nothing": {Options{WriteTimeout: time.Minute}, 1, 15, 5, 9},
		"sooner than that":               {Options{WriteTimeout: 12 * time.Second}, 1, 6, 2, 3},
		"for ever":                       {Options{WriteTimeout: 1000 * time.Hour}, 1, 15, 5, 127},
		"short":                          {Options{KeepAlive: 1, WriteTimeout: 1}, 1, 1, 1, 3},
	} {
		t.Run(name, func(t *testing.T) {
			server, _ := pair(t, listen(t, test.options))
			require.NotZero(t, option(t, server, unix.IPPROTO_TCP, unix.TCP_NODELAY))
			require.Equal(t, test.alive, option(t, server, unix.SOL_SOCKET, unix.SO_KEEPALIVE))
			require.Equal(t, test.idle, option(t, server, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE))
			require.Equal(t, test.interval, option(t, server, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL))
			require.Equal(t, test.count, option(t, server, unix.IPPROTO_TCP, unix.TCP_KEEPCNT))
			require.Zero(t, option(t, server, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT), "it would cut clients that take a little")
		})
	}
	server, _ := pair(t, listen(t, Options{KeepAlive: -1}))
	require.Zero(t, option(t, server, unix.SOL_SOCKET, unix.SO_KEEPALIVE))
}

// TestGatheredWritesReachTheSocketAsOne: net.Buffers uses writev if there is a
// *net.TCPConn underneath. Written one by one, with TCP_NODELAY, each piece would be a
// segment of its own.
func TestGatheredWritesReachTheSocketAsOne(t *testing.T) {
	server, _ := pair(t, listen(t, Options{}))
	pieces := net.Buffers{[]byte("a"), []byte("b"), []byte("c"), []byte("d")}
	_, err := pieces.WriteTo(server)
	require.NoError(t, err)
	raw, err := server.SyscallConn()
	require.NoError(t, err)
	var info *unix.TCPInfo
	require.NoError(t, raw.Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}))
	require.NoError(t, err)
	require.EqualValues(t, 1, info.Data_segs_out)
}

// TestTemporaryErrors: accept(2) passes on errors of connections that failed.
func TestTemporaryErrors(t *testing.T) {
	for _, number := range []unix.Errno{unix.EPERM, unix.EPROTO, unix.ENETUNREACH, unix.ETIMEDOUT, unix.ENOSPC} {
		require.True(t, isTemporary(&net.OpError{Op: "accept", Err: number}), number)
	}
	for _, number := range []unix.Errno{unix.EBADF, unix.EINVAL, unix.ENOTSOCK} {
		require.False(t, isTemporary(&net.OpError{Op: "accept", Err: number}), number)
	}
	require.False(t, isTemporary(net.ErrClosed))
}
