package sidecar

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// descriptorsBeside is how many descriptors there are besides those of clients and of
// connections to the model server: listeners, files, pollers, pages.
const descriptorsBeside = 128

// reserveDescriptors makes the kernel grow this process's descriptor table at once to
// the size that so many connections need. Otherwise the kernel doubles it whenever it
// is full, and each time waits for an RCU grace period: the requests that open the
// 65th, 129th, 257th, … descriptor would wait 10 to 20 ms. The table never shrinks.
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
