//go:build darwin || linux

package socket

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TryFill reads what is here and never waits, holds no buffer where nothing is, and
// reports whether that was all.
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

	// A deadline is nothing to it; that it was closed is.
	require.NoError(t, c.nc.SetReadDeadline(time.Unix(1, 0)))
	_, err = c.TryFill(&a)
	require.Equal(t, io.EOF, err)
	require.NoError(t, c.nc.Close())
	_, err = c.TryFill(&a)
	require.ErrorIs(t, err, net.ErrClosed)
}

// What is no socket cannot be tried.
func TestCanTry(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	c := new(Conn)
	require.NoError(t, c.Init(a))
	require.False(t, c.CanTry())
}
