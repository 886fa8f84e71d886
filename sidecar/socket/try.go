package socket

import (
	"errors"
	"io"
)

// ErrWouldWait is returned by a call that does not wait if nothing could be moved.
var ErrWouldWait = errors.New("socket: would wait")

// CanTry reports whether the calls that do not wait work on this connection.
func (c *Conn) CanTry() bool { return c.raw != nil }

// TryFill reads once into a, which must be empty. It does not wait and ignores deadlines.
// all reports that everything available was read, so that whatever arrives later is a new
// event for a watcher of the descriptor. Errors: ErrWouldWait, io.EOF, those of the
// connection; net.ErrClosed after it was closed here.
func (c *Conn) TryFill(a *Ahead) (all bool, err error) {
	in := takeIncoming()
	defer in.release()
	in.ahead = a
	err = c.raw.Control(in.try)
	switch {
	case err != nil:
		return false, err
	case in.err == errAgain:
		return true, ErrWouldWait
	case in.err != nil:
		return false, c.fault("read", in.err)
	case in.n == 0:
		return false, io.EOF
	}
	return in.n < len(*a.buf), nil
}

func (in *incoming) tryOnce(fd uintptr) { in.readOnce(fd) }
