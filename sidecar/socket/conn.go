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
}

// Init has c read and write nc, which keeps serving for everything else.
func (c *Conn) Init(nc net.Conn) (err error) {
	c.nc = nc
	c.raw, err = rawOf(nc)
	return err
}

// Read reads what has arrived, and waits if nothing has.
func (c *Conn) Read(p []byte) (int, error) {
	if c.raw == nil {
		return c.nc.Read(p)
	}
	return c.read(p, nil, false)
}

// FillAhead waits for bytes, takes a buffer when they have arrived, and reads once.
// Nothing may be ahead. Errors: io.EOF, those of the connection.
func (c *Conn) FillAhead(a *Ahead) error {
	if c.raw == nil {
		return a.fill(c.nc)
	}
	_, err := c.read(nil, a, false)
	return err
}

// read reads once, into p, or ahead if a is not nil. With once it does not wait.
func (c *Conn) read(p []byte, a *Ahead, once bool) (n int, err error) {
	in := takeIncoming()
	defer in.release()
	in.p, in.ahead = p, a
	if once {
		err = c.raw.Control(in.try) // Control does not prepare to wait
	} else {
		err = c.raw.Read(in.read)
	}
	switch {
	case err != nil:
		return 0, err
	case in.err == errAgain:
		return 0, ErrWouldWait
	case in.err != nil:
		return 0, fault(c.nc, "read", in.err)
	case in.n == 0 && (a != nil || len(p) > 0):
		return 0, io.EOF
	}
	return in.n, nil
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

func (c *Conn) write(a, b []byte, once bool) (n int, err error) {
	out := takeOutgoing()
	defer out.release()
	out.a, out.b, out.once = a, b, once
	if once {
		err = c.raw.Control(out.try)
	} else {
		err = c.raw.Write(out.write)
	}
	if err == nil && out.err != nil {
		err = fault(c.nc, "write", out.err)
	}
	return len(a) + len(b) - len(out.a) - len(out.b), err
}

// Silent reports whether nothing has arrived: no bytes, no FIN and no error. known is
// false if that cannot be found out without reading.
func (c *Conn) Silent() (silent, known bool) {
	if c.raw == nil {
		return false, false
	}
	return Silent(c.raw)
}

// Silent is that of a Conn, for any socket. Clients that nobody has accepted yet are what
// arrives at a listener.
func Silent(raw syscall.RawConn) (silent, known bool) {
	in := takeIncoming()
	defer in.release()
	err := raw.Control(in.probe)
	return in.silent, err == nil
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
func fault(nc net.Conn, op string, err error) error {
	local := nc.LocalAddr()
	return &net.OpError{Op: op, Net: local.Network(), Source: local, Addr: nc.RemoteAddr(), Err: os.NewSyscallError(op, err)}
}
