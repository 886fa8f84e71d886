//go:build darwin || linux

package upstream

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	calls "github.com/usher-sidecar/usher/sidecar/socket"
)

// A socket makes the system calls of a line itself, waiting in the runtime's
// poller as net.Conn does: that way a read needs a buffer only when something
// is there to be read, and a write can stop where it would wait.
type socket struct {
	raw syscall.RawConn

	// Method values, made once because each is an allocation; and what they are
	// given and leave behind.
	reader, writer func(fd uintptr) bool
	prober         func(fd uintptr)
	pieces         [2][]byte
	n              int
	err            error
	quiet          bool
}

func newLine(nc net.Conn, buffers *sync.Pool) (*line, error) {
	l := &line{nc: nc, buffers: buffers}
	var err error
	if l.raw, err = nc.(syscall.Conn).SyscallConn(); err != nil {
		return nil, err
	}
	l.reader, l.writer, l.prober = l.readOnce, l.writeOnce, l.probeOnce
	return l, nil
}

// silent tells whether nothing has come on a connection on which nothing is
// due: no end, which is how a server lets go of an idle connection, and no
// stray bytes, which would be taken for the next answer.
func (l *line) silent() bool {
	l.quiet = false
	err := l.raw.Control(l.prober)
	return err == nil && l.quiet
}

// probeOnce looks without taking anything, and without waiting. It asks poll
// rather than recv with MSG_PEEK: that tells the same (bytes, FIN and RST are
// all events) and allocates no address.
func (l *line) probeOnce(fd uintptr) {
	l.quiet = calls.Silent(fd)
}

// fill waits for bytes and reads once. Nothing may be read ahead.
func (l *line) fill() error {
	if err := l.raw.Read(l.reader); err != nil {
		return err
	}
	return l.err
}

// readOnce reads what is here, and asks to wait where nothing is.
func (l *line) readOnce(fd uintptr) bool {
	buf := l.buffers.Get().(*[]byte)
	n, err := calls.Read(fd, *buf)
	if n > 0 {
		l.buf, l.from, l.to, l.err = buf, 0, n, nil
		return true
	}
	l.buffers.Put(buf)
	switch err {
	case unix.EAGAIN:
		return false
	case nil:
		l.err = io.EOF
	default:
		l.err = os.NewSyscallError("read", err)
	}
	return true
}

// write writes what the socket takes of two pieces at once, in one system call
// and without waiting. n may be short without an error.
func (l *line) write(a, b []byte) (n int, err error) {
	l.pieces, l.n, l.err = [2][]byte{a, b}, 0, nil
	err = l.raw.Write(l.writer)
	l.pieces = [2][]byte{}
	if err == nil {
		err = l.err
	}
	return l.n, err
}

// writeOnce never asks to wait.
func (l *line) writeOnce(fd uintptr) bool {
	n, err := calls.Write2(fd, l.pieces[0], l.pieces[1])
	switch {
	case err == nil:
		l.n = n
	case err != unix.EAGAIN:
		l.err = os.NewSyscallError("writev", err)
	}
	return true
}
