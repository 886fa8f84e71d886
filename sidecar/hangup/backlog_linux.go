package hangup

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// backlog reports whether clients are connected to ln that nobody has accepted yet; false
// also if that cannot be found out.
func backlog(ln net.Listener) (found bool) {
	descriptor, ok := ln.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := descriptor.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds[:], 0)
		for err == unix.EINTR {
			n, err = unix.Poll(fds[:], 0)
		}
		found = n > 0 && err == nil
	})
	return found
}
