package socket

import "errors"

// ErrWouldWait is returned by a call that does not wait if nothing could be moved.
var ErrWouldWait = errors.New("socket: would wait")

// CanTry reports whether the calls that do not wait work on this connection.
func (c *Conn) CanTry() bool { return c.raw != nil }

// TryFill reads once into a, which must be empty. It does not wait and ignores deadlines.
// all reports that everything available was read, so that whatever arrives later is a new
// event for a watcher of the descriptor. Errors: ErrWouldWait, io.EOF, those of the
// connection; net.ErrClosed after it was closed here.
func (c *Conn) TryFill(a *Ahead) (all bool, err error) {
	n, err := c.read(nil, a, true)
	if err != nil {
		return err == ErrWouldWait, err
	}
	return n < len(*a.buf), nil
}

// TryRead reads once into p, which must not be empty. It does not wait and ignores
// deadlines. Errors: those of TryFill.
func (c *Conn) TryRead(p []byte) (int, error) { return c.read(p, nil, true) }

func (in *incoming) tryOnce(fd uintptr) { in.readOnce(fd) }
