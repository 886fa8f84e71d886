//go:build darwin || linux

package socket

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// errAgain is the error of a call that would have to wait.
const errAgain = unix.EAGAIN

// rawOf returns nil if nc is not a socket.
func rawOf(nc net.Conn) (syscall.RawConn, error) {
	c, ok := nc.(syscall.Conn)
	if !ok {
		return nil, nil
	}
	return c.SyscallConn()
}

// readOnce reads what has arrived, and asks to wait if nothing has.
func (in *incoming) readOnce(fd uintptr) bool {
	if in.ahead != nil {
		return in.fillOnce(fd)
	}
	in.n, in.err = readNow(fd, in.p)
	return in.err != unix.EAGAIN
}

// fillOnce returns the buffer to the pool before it asks to wait.
func (in *incoming) fillOnce(fd uintptr) bool {
	a := in.ahead
	buf := a.buffers.Get().(*[]byte)
	in.n, in.err = readNow(fd, *buf)
	if in.n > 0 {
		a.buf, a.from, a.to = buf, 0, in.n
		return true
	}
	a.buffers.Put(buf)
	return in.err != unix.EAGAIN
}

// writeOn writes until everything is written or it would have to wait.
func (o *outgoing) writeOn(fd uintptr) bool {
	for len(o.a)+len(o.b) > 0 {
		n, err := o.writeSome(fd)
		if err == unix.EAGAIN {
			return o.once
		}
		if err != nil {
			o.err = err
			return true
		}
		first := min(n, len(o.a))
		o.a, o.b = o.a[first:], o.b[n-first:]
		if o.once {
			return true
		}
	}
	return true
}

func (o *outgoing) tryOnce(fd uintptr) { o.writeOn(fd) }

func (o *outgoing) writeSome(fd uintptr) (int, error) {
	if len(o.b) > 0 {
		return write2Now(fd, o.a, o.b)
	}
	return writeNow(fd, o.a)
}

// look neither reads nor waits. It uses poll rather than recv with MSG_PEEK: bytes, FIN
// and RST are all events, and no address is allocated.
func (in *incoming) look(fd uintptr) { in.silent = silentNow(fd) }
