//go:build darwin || linux

package socket

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// connected returns a Conn and the other side of its connection.
func connected(t *testing.T) (*Conn, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = ln.Close() }()
	nc, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	other, err := ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = nc.Close(), other.Close() })
	require.NoError(t, other.SetDeadline(time.Now().Add(10*time.Second)))
	c := new(Conn)
	require.NoError(t, c.Init(nc))
	return c, other.(*net.TCPConn)
}

func newPool(size int) *sync.Pool {
	return &sync.Pool{New: func() any { b := make([]byte, size); return &b }}
}

func TestReadAndWrite(t *testing.T) {
	c, other := connected(t)
	sent := bytes.Repeat([]byte("usher"), 1<<20) // more than the sockets hold: the write must wait
	wrote := make(chan error, 1)
	go func() {
		n, err := c.Write(sent)
		if err == nil && n != len(sent) {
			err = io.ErrShortWrite
		}
		wrote <- err
	}()
	got := make([]byte, len(sent))
	_, err := io.ReadFull(other, got)
	require.NoError(t, err)
	require.NoError(t, <-wrote)
	require.True(t, bytes.Equal(sent, got))

	_, err = other.Write([]byte("answer"))
	require.NoError(t, err)
	require.NoError(t, other.CloseWrite())
	back, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "answer", string(back))
	n, err := c.Read(nil)
	require.NoError(t, err)
	require.Zero(t, n)
}

// TryWrite takes what fits, from both pieces in order, and never waits.
func TestTryWrite(t *testing.T) {
	c, other := connected(t)
	n, err := c.TryWrite([]byte("head "), []byte("body"))
	require.NoError(t, err)
	require.Equal(t, 9, n)
	got := make([]byte, 9)
	_, err = io.ReadFull(other, got)
	require.NoError(t, err)
	require.Equal(t, "head body", string(got))

	var total int
	for n > 0 {
		n, err = c.TryWrite(make([]byte, 1<<20), make([]byte, 1<<20))
		require.NoError(t, err)
		total += n
	}
	read, err := io.CopyN(io.Discard, other, int64(total))
	require.NoError(t, err)
	require.EqualValues(t, total, read)
}

// What was read ahead stays until it is dropped; only then does the next Fill wait.
func TestFillAhead(t *testing.T) {
	c, other := connected(t)
	a := NewAhead(newPool(4))
	filled := make(chan error)
	go func() { filled <- a.Fill(c) }()
	select {
	case err := <-filled:
		require.FailNow(t, "it did not wait", "%v", err)
	case <-time.After(20 * time.Millisecond):
	}
	_, err := other.Write([]byte("abcdef"))
	require.NoError(t, err)
	require.NoError(t, <-filled)
	require.Equal(t, "abcd", string(a.Bytes()))
	require.NoError(t, a.Fill(c), "what is ahead stays")
	a.Drop(1)
	require.Equal(t, "bcd", string(a.Bytes()))
	require.False(t, a.Empty())
	a.Drop(3)
	require.True(t, a.Empty())
	require.Empty(t, a.Bytes())
	require.NoError(t, a.Fill(c))
	require.Equal(t, "ef", string(a.Bytes()))
	a.Release()
	require.True(t, a.Empty())
	require.NoError(t, other.CloseWrite())
	require.Equal(t, io.EOF, a.Fill(c))
	require.True(t, a.Empty())
}

// A reader that cannot wait without a buffer is given one.
func TestFillFromAnyReader(t *testing.T) {
	a := NewAhead(newPool(4))
	r := bytes.NewReader([]byte("abcdef"))
	require.NoError(t, a.Fill(r))
	require.Equal(t, "abcd", string(a.Bytes()))
	a.Drop(4)
	require.NoError(t, a.Fill(r))
	a.Release()
	require.Equal(t, io.EOF, a.Fill(r))
	require.Equal(t, io.ErrNoProgress, a.Fill(silentReader{}))
	require.True(t, a.Empty())
}

type silentReader struct{}

func (silentReader) Read([]byte) (int, error) { return 0, nil }

func requireSilent(t *testing.T, c *Conn, want bool) {
	t.Helper()
	silent, known := c.Silent()
	require.Equal(t, want, known)
	require.Equal(t, want, silent)
}

func TestSilent(t *testing.T) {
	c, other := connected(t)
	requireSilent(t, c, true)
	_, err := other.Write([]byte("x"))
	require.NoError(t, err)
	require.Eventually(t, func() bool { silent, known := c.Silent(); return known && !silent }, 10*time.Second, time.Millisecond)
	_, err = c.Read(make([]byte, 1))
	require.NoError(t, err)
	requireSilent(t, c, true)
	require.NoError(t, other.CloseWrite())
	require.Eventually(t, func() bool { silent, known := c.Silent(); return known && !silent }, 10*time.Second, time.Millisecond)
}

// Errors look like those of package net, so that callers can tell them apart in the same
// way.
func TestFaults(t *testing.T) {
	c, other := connected(t)
	require.NoError(t, c.nc.SetReadDeadline(time.Now()))
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	a := NewAhead(newPool(4))
	require.ErrorIs(t, a.Fill(c), os.ErrDeadlineExceeded)
	require.NoError(t, c.nc.SetReadDeadline(time.Time{}))

	require.NoError(t, other.SetLinger(0))
	require.NoError(t, other.Close())
	err = a.Fill(c)
	require.ErrorIs(t, err, syscall.ECONNRESET)
	var op *net.OpError
	require.True(t, errors.As(err, &op))
	require.Equal(t, "read", op.Op)
	require.Equal(t, "tcp", op.Net)
	require.Equal(t, c.nc.RemoteAddr(), op.Addr)
	_, err = c.TryWrite([]byte("x"), []byte("y"))
	require.ErrorIs(t, err, syscall.EPIPE)
	require.NoError(t, c.nc.Close())
	_, err = c.Write([]byte("x"))
	require.ErrorIs(t, err, net.ErrClosed)
	requireSilent(t, c, false)
}

// A connection that is not a socket is read and written by its own methods.
func TestNoSocket(t *testing.T) {
	here, there := net.Pipe()
	c := new(Conn)
	require.NoError(t, c.Init(here))
	go func() {
		_, _ = there.Write([]byte("ab"))
		_, _ = io.Copy(io.Discard, there)
	}()
	a := NewAhead(newPool(4))
	require.NoError(t, a.Fill(c))
	require.Equal(t, "ab", string(a.Bytes()))
	n, err := c.TryWrite([]byte("x"), nil)
	require.NoError(t, err)
	require.Zero(t, n, "it might wait")
	_, err = c.Write([]byte("x"))
	require.NoError(t, err)
	requireSilent(t, c, false)
	require.NoError(t, here.Close())
	_, err = c.Read(make([]byte, 1))
	require.Error(t, err)
}
