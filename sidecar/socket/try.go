package socket

import (
	"errors"
	"io"
)

// ErrWouldWait is what a call that does not wait gives where nothing could be moved.
var ErrWouldWait = errors.New("socket: it would wait")

// CanTry reports whether the calls that do not wait work on this connection.
func (c *Conn) CanTry() bool { return c.raw != nil }

// TryFill takes a buffer and reads once into a, where nothing may be ahead. It
// does not wait, and no deadline is asked. all reports that everything that was
// here was read, so that a later byte, end or error is an event of its own to
// whoever watches the descriptor. Errors: ErrWouldWait, io.EOF, those of the
// connection; net.ErrClosed once it was closed here.
func (c *Conn) TryFill(a *Ahead) (all bool, err error) {
	if c.in.try == nil {
		c.in.try = c.in.tryOnce
	}
	c.in.ahead = a
	err = c.raw.Control(c.in.try)
	c.in.ahead = nil
	switch {
	case err != nil:
		return false, err
	case c.in.err == errAgain:
		return true, ErrWouldWait
	case c.in.err != nil:
		return false, c.fault("read", c.in.err)
	case c.in.n == 0:
		return false, io.EOF
	}
	return c.in.n < len(*a.buf), nil
}

func (in *incoming) tryOnce(fd uintptr) { in.readOnce(fd) }
