//go:build darwin || linux

package hangup

import (
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	calls "github.com/usher-sidecar/usher/sidecar/socket"
)

// A socket makes the system calls of a Conn itself, waiting in the runtime's
// poller as net.TCPConn does.
type socket struct {
	raw syscall.RawConn

	// Method values, made once because each is an allocation; and what they are
	// given and leave behind.
	reader, writer func(fd uintptr) bool
	in, out        []byte
	n              int
	rerr, werr     error
}

func (s *socket) prepare(tcp *net.TCPConn) (err error) {
	s.reader, s.writer = s.readOnce, s.writeOn
	s.raw, err = tcp.SyscallConn()
	return err
}

// Read reads what is here, and waits where nothing is.
func (c *Conn) Read(p []byte) (int, error) {
	c.in = p
	err := c.raw.Read(c.reader)
	c.in = nil
	switch {
	case err != nil:
		return c.woke(0, err)
	case c.rerr != nil:
		return c.woke(0, c.fault("read", c.rerr))
	case c.n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return c.woke(c.n, nil)
}

// silent reports whether nothing has come that was not read; true where that
// cannot be told any more.
func (s *socket) silent() bool {
	quiet := true
	_ = s.raw.Control(func(fd uintptr) { quiet = calls.Silent(fd) })
	return quiet
}

func (s *socket) readOnce(fd uintptr) bool {
	s.n, s.rerr = calls.Read(fd, s.in)
	return s.rerr != unix.EAGAIN
}

// Write writes all of p, unless it fails.
func (c *Conn) Write(p []byte) (int, error) {
	c.out, c.werr = p, nil
	err := c.raw.Write(c.writer)
	n := len(p) - len(c.out)
	c.out = nil
	if err == nil && c.werr != nil {
		err = c.fault("write", c.werr)
	}
	return n, err
}

// writeOn writes until all is written or it would have to wait.
func (s *socket) writeOn(fd uintptr) bool {
	for len(s.out) > 0 {
		n, err := calls.Write(fd, s.out)
		if err == unix.EAGAIN {
			return false
		}
		if err != nil {
			s.werr = err
			return true
		}
		s.out = s.out[n:]
	}
	return true
}

// fault dresses an error of a system call as net.TCPConn does.
func (c *Conn) fault(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError(op, err)}
}
