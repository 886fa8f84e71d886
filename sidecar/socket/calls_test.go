//go:build darwin || linux

package socket

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// pair makes two connected non-blocking sockets.
func pair(t *testing.T) (a, b uintptr) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	for _, fd := range fds {
		require.NoError(t, unix.SetNonblock(fd, true))
		t.Cleanup(func() { _ = unix.Close(fd) })
	}
	return uintptr(fds[0]), uintptr(fds[1])
}

// drain reads until nothing is there.
func drain(t *testing.T, fd uintptr, size int) []byte {
	var all []byte
	p := make([]byte, size)
	for {
		n, err := readNow(fd, p)
		if err == unix.EAGAIN {
			return all
		}
		require.NoError(t, err)
		require.Positive(t, n)
		all = append(all, p[:n]...)
	}
}

// TestCalls: what is written on one side is read on the other, both by calls that bypass
// the scheduler and by ordinary ones.
func TestCalls(t *testing.T) {
	for name, size := range map[string]int{"one byte": 1, "short": 4 << 10, "the longest short": short, "long": short + 1} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			sent := bytes.Repeat([]byte("usher"), size/5+1)[:size]
			require.True(t, silentNow(b))
			n, err := writeNow(a, sent)
			require.NoError(t, err)
			require.False(t, silentNow(b))
			require.Equal(t, sent[:n], drain(t, b, size))
			for _, at := range []int{0, size / 2, size} {
				n, err = write2Now(a, sent[:at], sent[at:])
				require.NoError(t, err)
				require.Equal(t, sent[:n], drain(t, b, size))
			}
			require.True(t, silentNow(b))
		})
	}
}

func TestNothing(t *testing.T) {
	a, b := pair(t)
	for name, call := range map[string]func() (int, error){
		"read":   func() (int, error) { return readNow(b, nil) },
		"write":  func() (int, error) { return writeNow(a, nil) },
		"write2": func() (int, error) { return write2Now(a, nil, nil) },
	} {
		n, err := call()
		require.NoError(t, err, name)
		require.Zero(t, n, name)
	}
	require.True(t, silentNow(b))
}

// TestFull: a full socket is reported, not waited for.
func TestFull(t *testing.T) {
	a, b := pair(t)
	total := 0
	for {
		n, err := writeNow(a, make([]byte, 4<<10))
		if err == unix.EAGAIN {
			break
		}
		require.NoError(t, err)
		total += n
	}
	_, err := write2Now(a, []byte("x"), []byte("y"))
	require.Equal(t, unix.EAGAIN, err)
	require.Len(t, drain(t, b, 64<<10), total)
}

func TestTheOtherSideLeft(t *testing.T) {
	a, b := pair(t)
	require.NoError(t, unix.Shutdown(int(a), unix.SHUT_WR))
	require.False(t, silentNow(b))
	n, err := readNow(b, make([]byte, 1))
	require.NoError(t, err)
	require.Zero(t, n)
	require.NoError(t, unix.Shutdown(int(b), unix.SHUT_RDWR))
	_, err = writeNow(a, []byte("x"))
	require.Equal(t, unix.EPIPE, err)
	_, err = readNow(1<<30, make([]byte, 1))
	require.Equal(t, unix.EBADF, err)
}
