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
func (r *Response) CanPoll() bool { return !r.Sending() && r.cn.line.sock.CanTry() }

// Control lends the connection's descriptor to f; see syscall.RawConn.
func (r *Response) Control(f func(fd uintptr)) error { return r.cn.line.sock.Control(f) }

// Arrived says that something has arrived. final says that the end of the connection or
// an error may follow it, for which there will be no further event.
func (r *Response) Arrived(final bool) { r.drained, r.final = false, r.final || final }

// Look reads what has arrived, without waiting, and reports Ready. If it returns false,
// wait for the next event. The caller has to watch the idle time-out; see Silent.
func (r *Response) Look() bool {
	for !r.Ready() && !r.drained {
		l := r.cn.line
		all, err := l.sock.TryFill(&l.ahead)
		if errors.Is(err, socket.ErrWouldWait) {
			r.drained = true
			return false
		}
		r.drained = all && !r.final
		r.came(err)
	}
	return r.Ready()
}

// Silent ends the body with ErrTimeout, because nothing came within the idle time-out.
func (r *Response) Silent() {
	if r.err == nil {
		r.err = ErrTimeout
	}
}

// came records the result of one read.
func (r *Response) came(err error) {
	switch {
	case err == nil:
	case errors.Is(err, io.EOF) && r.body == byClose && !r.cn.canceled():
		r.finished()
	case errors.Is(err, io.EOF) && !r.cn.canceled():
		r.err = errCutShort
	default:
		r.err = r.cn.explain(err)
	}
}
