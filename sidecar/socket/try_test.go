//go:build darwin || linux

package socket

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TryFill reads what has arrived and never waits, holds no buffer if nothing has, and
// reports whether that was everything.
func TestTryFill(t *testing.T) {
	c, other := connected(t)
	require.True(t, c.CanTry())
	a := NewAhead(newPool(8))
	all, err := c.TryFill(&a)
	require.Equal(t, ErrWouldWait, err)
	require.True(t, all && a.Empty())

	_, err = other.Write([]byte("0123456789ab"))
	require.NoError(t, err)
	await := func() {
		require.Eventually(t, func() bool { silent, _ := c.Silent(); return !silent }, 10*time.Second, time.Millisecond)
	}
	await()
	all, err = c.TryFill(&a)
	require.NoError(t, err)
	require.Equal(t, "01234567", string(a.Bytes()))
	require.False(t, all, "the buffer was full")
	a.Release()
	all, err = c.TryFill(&a)
	require.NoError(t, err)
	require.Equal(t, "89ab", string(a.Bytes()))
	require.True(t, all, "a short read")
	a.Release()

	require.NoError(t, other.CloseWrite())
	await()
	_, err = c.TryFill(&a)
	require.Equal(t, io.EOF, err)
	require.True(t, a.Empty())

	// It ignores deadlines, but not that the connection was closed.
	require.NoError(t, c.nc.SetReadDeadline(time.Unix(1, 0)))
	_, err = c.TryFill(&a)
	require.Equal(t, io.EOF, err)
	require.NoError(t, c.nc.Close())
	_, err = c.TryFill(&a)
	require.ErrorIs(t, err, net.ErrClosed)
}

// CanTry is false if the connection is not a socket.
func TestCanTry(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	c := new(Conn)
	require.NoError(t, c.Init(a))
	require.False(t, c.CanTry())
}
