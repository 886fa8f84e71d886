//go:build linux && !race

package socket

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// readNow is recv(2), repeated after a signal. The kernel does less for it than for
// read(2), as for send(2) than for write(2), since both are for sockets only.
func readNow(fd uintptr, p []byte) (n int, err error) {
	if len(p) == 0 || len(p) > short {
		return read(fd, p)
	}
	for {
		r, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), 0, 0, 0)
		if errno != unix.EINTR {
			return result(r, errno)
		}
	}
}

// writeNow is send(2), repeated after a signal.
func writeNow(fd uintptr, p []byte) (n int, err error) {
	if len(p) == 0 || len(p) > short {
		return write(fd, p)
	}
	for {
		r, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_NOSIGNAL, 0, 0)
		if errno != unix.EINTR {
			return result(r, errno)
		}
	}
}

// write2Now is writev(2) of two pieces, repeated after a signal.
func write2Now(fd uintptr, a, b []byte) (n int, err error) {
	if len(a)+len(b) > short {
		return write2(fd, a, b)
	}
	pieces := [2]unix.Iovec{{Base: unsafe.SliceData(a)}, {Base: unsafe.SliceData(b)}}
	pieces[0].SetLen(len(a))
	pieces[1].SetLen(len(b))
	for {
		r, _, errno := unix.RawSyscall(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&pieces)), uintptr(len(pieces)))
		if errno != unix.EINTR {
			return result(r, errno)
		}
	}
}

// silentNow reports whether nothing has arrived: no bytes, no FIN, no error. It is
// poll(2), repeated after a signal.
func silentNow(fd uintptr) bool {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds)), uintptr(len(fds)), uintptr(unsafe.Pointer(&unix.Timespec{})), 0, 0, 0)
		if errno != unix.EINTR {
			return n == 0 && errno == 0
		}
	}
}

func result(r uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return -1, errno
	}
	return int(r), nil
}
