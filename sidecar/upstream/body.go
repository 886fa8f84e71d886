package upstream

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// Ready reports whether Read would return at once, because bytes of the body, its
// end or an error have arrived. It removes framing that has arrived.
func (r *Response) Ready() bool { return len(r.here()) > 0 || r.err != nil }

// Wait blocks until Ready and reads nothing, so that no buffer is held while a
// stream is silent. Errors: those of Read except io.EOF, which only Read returns.
func (r *Response) Wait() error {
	for !r.Ready() {
		r.more()
	}
	if errors.Is(r.err, io.EOF) || len(r.here()) > 0 {
		return nil
	}
	return r.err
}

// Read reads what has arrived of the body, across chunks, and waits only if nothing has.
// io.EOF means the true end of the body, and comes with the last bytes if it is known by
// then. Read returns 0 and nil only for an empty p. Errors are permanent. Errors:
// ErrBroken if the body was cut short or is malformed, ErrTimeout, ErrCanceled.
func (r *Response) Read(p []byte) (n int, err error) {
	for n == 0 && len(p) > 0 {
		for n < len(p) {
			piece := r.here()
			if len(piece) == 0 {
				break
			}
			m := copy(p[n:], piece)
			r.took(m)
			n += m
		}
		if n == 0 {
			if r.err != nil {
				return 0, r.err
			}
			r.more()
		}
	}
	if n > 0 && len(r.here()) == 0 && r.err == io.EOF {
		return n, io.EOF
	}
	return n, nil
}

// here returns the next piece of the body that has arrived, without framing.
func (r *Response) here() []byte {
	if r.err != nil {
		return nil
	}
	l := r.cn.line
	ahead := l.ahead.Bytes()
	switch r.body {
	case byLength:
		return ahead[:min(int64(len(ahead)), r.left)]
	case byChunks:
		n, err := r.chunks.Skip(ahead)
		l.ahead.Drop(n)
		if err == io.EOF {
			r.finished()
			return nil
		}
		if err != nil {
			r.err = fmt.Errorf("%w: %w", ErrBroken, err)
			return nil
		}
		ahead = l.ahead.Bytes()
		return ahead[:min(int64(len(ahead)), r.chunks.Data())]
	}
	return ahead
}

// took removes n bytes of the piece that here returned.
func (r *Response) took(n int) {
	r.cn.line.ahead.Drop(n)
	switch r.body {
	case byLength:
		if r.left -= int64(n); r.left == 0 {
			r.finished()
		}
	case byChunks:
		r.chunks.Took(n)
	}
}

// more waits for bytes when here returned none. It sets err if that fails.
func (r *Response) more() {
	r.renew()
	l := r.cn.line
	r.came(l.sock.FillAhead(&l.ahead))
}

// finished records the true end of the body.
func (r *Response) finished() { r.err = io.EOF }

// renew extends the read deadline, but only when an eighth of the time-out has
// passed since the last time, and by that much more. So the silence allowed is
// never less than the time-out, and most pieces of a stream set no timer.
func (r *Response) renew() {
	idle := r.cn.client.o.IdleTimeout
	if now := time.Now(); now.Sub(r.renewed) > idle/8 {
		r.renewed = now
		_ = r.cn.line.nc.SetReadDeadline(now.Add(idle + idle/8))
	}
}

// Close ends the response and the use of the connection, once. The connection is kept if
// the body came to its true end, the server allows it, and nothing came after the body.
// It is reset if the body did not come to its end, so that the model server stops.
func (r *Response) Close() {
	if r.cn == nil {
		return
	}
	switch {
	case r.err != io.EOF:
		r.cn.end(abort)
	case r.keep:
		r.cn.end(reuse)
	default:
		r.cn.end(finish)
	}
}
