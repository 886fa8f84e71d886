// Package socket reads and writes connections. Its system calls wait in the runtime's
// poller like those of package net, but need a read buffer only once bytes have arrived,
// can stop instead of waiting to write, and do not wake the runtime's monitor.
package socket

import (
	"io"
	"net"
	"os"
	"syscall"
)

// A Conn reads and writes a connection by system calls of its own. Init prepares it,
// after which it must not be copied. One goroutine at a time may read, and one write.
//
// If there is no descriptor to work with (on systems other than Linux and macOS, or if
// the connection is not a socket), a Conn uses the methods of its net.Conn.
type Conn struct {
	nc  net.Conn
	raw syscall.RawConn // nil: nc does the work
	in  incoming
	out outgoing

	prober func(fd uintptr) // made when it is first needed, like in.try
	quiet  bool
}

// The arguments and results of the callbacks of raw. The callbacks are method values,
// made once because each is an allocation.
type (
	incoming struct {
		read  func(fd uintptr) bool
		try   func(fd uintptr) // made when it is first needed
		p     []byte
		ahead *Ahead // read into instead of p
		n     int
		err   error
	}
	outgoing struct {
		write func(fd uintptr) bool
		try   func(fd uintptr)
		a, b  []byte
		once  bool // one system call, without waiting
		err   error
	}
)

// Init has c read and write nc, which keeps serving for everything else.
func (c *Conn) Init(nc net.Conn) (err error) {
	c.nc = nc
	c.raw, err = rawOf(nc)
	c.in.read, c.out.write, c.out.try = c.in.readOnce, c.out.writeOn, c.out.tryOnce
	return err
}

// Read reads what has arrived, and waits if nothing has.
func (c *Conn) Read(p []byte) (int, error) {
	if c.raw == nil {
		return c.nc.Read(p)
	}
	c.in.p = p
	err := c.raw.Read(c.in.read)
	c.in.p = nil
	switch {
	case err != nil:
		return 0, err
	case c.in.err != nil:
		return 0, c.fault("read", c.in.err)
	case c.in.n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return c.in.n, nil
}

// FillAhead waits for bytes, takes a buffer when they have arrived, and reads once.
// Nothing may be ahead. Errors: io.EOF, those of the connection.
func (c *Conn) FillAhead(a *Ahead) error {
	if c.raw == nil {
		return a.fill(c.nc)
	}
	c.in.ahead = a
	err := c.raw.Read(c.in.read)
	c.in.ahead = nil
	switch {
	case err != nil:
		return err
	case c.in.err != nil:
		return c.fault("read", c.in.err)
	case c.in.n == 0:
		return io.EOF
	}
	return nil
}

// Write writes all of p, unless it fails.
func (c *Conn) Write(p []byte) (int, error) {
	if c.raw == nil {
		return c.nc.Write(p)
	}
	return c.write(p, nil, false)
}

// TryWrite writes as much of two pieces as the socket takes, in one system call and
// without waiting. It ignores deadlines. n may be short, even 0, without an error.
func (c *Conn) TryWrite(a, b []byte) (n int, err error) {
	if c.raw == nil {
		return 0, nil
	}
	return c.write(a, b, true)
}

func (c *Conn) write(a, b []byte, once bool) (int, error) {
	c.out.a, c.out.b, c.out.once, c.out.err = a, b, once, nil
	var err error
	if once {
		err = c.raw.Control(c.out.try) // Control does not prepare to wait
	} else {
		err = c.raw.Write(c.out.write)
	}
	n := len(a) + len(b) - len(c.out.a) - len(c.out.b)
	c.out.a, c.out.b = nil, nil
	if err == nil && c.out.err != nil {
		err = c.fault("write", c.out.err)
	}
	return n, err
}

// Silent reports whether nothing has arrived: no bytes, no FIN and no error. known is
// false if that cannot be found out without reading. One goroutine at a time may call it,
// while others read and write.
func (c *Conn) Silent() (silent, known bool) {
	if c.raw == nil {
		return false, false
	}
	if c.prober == nil {
		c.prober = c.probe
	}
	c.quiet = false
	err := c.raw.Control(c.prober)
	return c.quiet, err == nil
}

// Control lends the descriptor to f; see syscall.RawConn. It does nothing if there is
// none.
func (c *Conn) Control(f func(fd uintptr)) error {
	if c.raw == nil {
		return nil
	}
	return c.raw.Control(f)
}

// fault wraps the error of a system call as package net does.
func (c *Conn) fault(op string, err error) error {
	local := c.nc.LocalAddr()
	return &net.OpError{Op: op, Net: local.Network(), Source: local, Addr: c.nc.RemoteAddr(), Err: os.NewSyscallError(op, err)}
}
