//go:build darwin || linux

package socket

import "golang.org/x/sys/unix"

func read(fd uintptr, p []byte) (n int, err error) {
	for {
		if n, err = unix.Read(int(fd), p); err != unix.EINTR {
			return n, err
		}
	}
}

func write(fd uintptr, p []byte) (n int, err error) {
	for {
		if n, err = unix.Write(int(fd), p); err != unix.EINTR {
			return n, err
		}
	}
}

func write2(fd uintptr, a, b []byte) (n int, err error) {
	for {
		if n, err = unix.Writev(int(fd), [][]byte{a, b}); err != unix.EINTR {
			return n, err
		}
	}
}
