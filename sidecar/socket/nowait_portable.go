//go:build darwin || (linux && race)

package socket

import "golang.org/x/sys/unix"

// Read is read(2), made again when a signal came between. The race detector sees
// the buffers of these calls.
func Read(fd uintptr, p []byte) (n int, err error) { return read(fd, p) }

// Write is write(2), made again when a signal came between.
func Write(fd uintptr, p []byte) (n int, err error) { return write(fd, p) }

// Write2 is writev(2) of two pieces, made again when a signal came between.
func Write2(fd uintptr, a, b []byte) (n int, err error) { return write2(fd, a, b) }

// Silent tells whether nothing has come: no bytes, no end, no error.
func Silent(fd uintptr) bool {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds[:], 0)
	return n == 0 && err == nil
}
