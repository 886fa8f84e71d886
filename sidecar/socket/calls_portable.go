//go:build darwin || (linux && race)

package socket

import "golang.org/x/sys/unix"

// readNow is read(2), repeated after a signal. Unlike raw system calls, these let the
// race detector see their buffers.
func readNow(fd uintptr, p []byte) (n int, err error) { return read(fd, p) }

// writeNow is write(2), repeated after a signal.
func writeNow(fd uintptr, p []byte) (n int, err error) { return write(fd, p) }

// write2Now is writev(2) of two pieces, repeated after a signal.
func write2Now(fd uintptr, a, b []byte) (n int, err error) { return write2(fd, a, b) }

// silentNow reports whether nothing has arrived: no bytes, no FIN, no error. It is
// poll(2), repeated after a signal.
func silentNow(fd uintptr) bool {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds[:], 0)
		if err != unix.EINTR {
			return n == 0 && err == nil
		}
	}
}
