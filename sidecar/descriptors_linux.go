package sidecar

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// descriptorsBeside are the descriptors besides those of clients and of lines to
// the model server: listeners, files, pollers, pages.
const descriptorsBeside = 128

// reserveDescriptors has the kernel make the table of the process's descriptors
// as large as it can become with so many connections. It doubles a full table,
// and waits until every processor has let go of the old one (an RCU grace
// period): without this, the requests that bring the 65th, 129th, 257th, …
// descriptor wait 10 to 20 ms. A table never shrinks.
func reserveDescriptors(connections int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	highest := min(uint64(2*connections+descriptorsBeside), limit.Cur) - 1
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("epoll_create1: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	// The copy takes the lowest free descriptor from highest on.
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, int(highest))
	if err != nil {
		return fmt.Errorf("fcntl: %w", err)
	}
	return unix.Close(high)
}
