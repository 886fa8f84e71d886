package upstream

import (
	"errors"
	"io"

	"github.com/usher-sidecar/usher/sidecar/socket"
)

// A body can also be read without waiting: Control lends the descriptor to watch,
// the watcher calls Arrived for each event, and Look reads what has arrived.

// CanPoll reports whether Look works: the connection is a socket, and no part of the
// request is still being written.
func (r *Response) CanPoll() bool { return !r.Sending() && r.Body.line.sock.CanTry() }

// Control lends the connection's descriptor to f; see syscall.RawConn.
func (r *Response) Control(f func(fd uintptr)) error { return r.Body.line.sock.Control(f) }

// Arrived says that something has arrived. final says that the end of the connection or
// an error may follow it, for which there will be no further event.
func (b *Body) Arrived(final bool) { b.drained, b.final = false, b.final || final }

// Look reads what has arrived, without waiting, and reports Ready. If it returns false,
// wait for the next event. The caller has to watch the idle time-out; see Silent.
func (b *Body) Look() bool {
	for !b.Ready() && !b.drained {
		l := b.line
		all, err := l.sock.TryFill(&l.ahead)
		if errors.Is(err, socket.ErrWouldWait) {
			b.drained = true
			return false
		}
		b.drained = all && !b.final
		b.came(err)
	}
	return b.Ready()
}

// Silent ends the body with ErrTimeout, because nothing came within the idle time-out.
func (b *Body) Silent() {
	if b.err == nil {
		b.err = ErrTimeout
	}
}

// came records the result of one read.
func (b *Body) came(err error) {
	switch {
	case err == nil:
	case errors.Is(err, io.EOF) && b.framing == byClose && !b.cn.canceled():
		b.finished()
	case errors.Is(err, io.EOF) && !b.cn.canceled():
		b.err = errCutShort
	default:
		b.err = b.cn.explain(err)
	}
}
