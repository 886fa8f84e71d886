package upstream

import (
	"errors"
	"io"

	"github.com/usher-sidecar/usher/sidecar/socket"
)

// A body can also be read by one who must not wait: Arrived tells it of what whoever
// watches the descriptor has seen, Look takes in what has come, and the use's Control
// gives the descriptor.

// CanPoll reports whether Look works: the connection is a socket, and nothing of the
// request is still being written.
func (r *Response) CanPoll() bool { return !r.Sending() && r.cn.line.sock.CanTry() }

// Control has f look at the connection's descriptor, see syscall.RawConn.
func (r *Response) Control(f func(fd uintptr)) error { return r.cn.line.sock.Control(f) }

// Arrived tells that something has come; final: the end of the connection, or an
// error, may be behind it, of which nobody will tell again.
func (r *Response) Arrived(final bool) { r.drained, r.final = false, r.final || final }

// Look takes in what is here, without waiting, and reports Ready. After a false, the
// next event tells. The time-out between two pieces is its caller's: see Silent.
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

// Silent ends the body, since nothing came for as long as may be.
func (r *Response) Silent() {
	if r.err == nil {
		r.err = ErrTimeout
	}
}

// came takes what reading once ended with.
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
