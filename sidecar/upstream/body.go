package upstream

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/usher-sidecar/usher/sidecar/http1"
)

// A Body is the body of a response, read as it comes.
type Body struct {
	cn      *Conn
	line    *line // of the use; nil once it has ended
	err     error // how it ended; io.EOF is its true end
	framing framing
	drained bool  // Look has read everything; the next event is told by Arrived
	final   bool  // see Arrived
	left    int64 // byLength: bytes still to come
	chunks  http1.Chunked
	renewed time.Time // when renew last set the read deadline
}

// A framing is how a body ends (RFC 9112 section 6.3).
type framing uint8

const (
	byLength framing = iota
	byChunks
	byClose
)

// errCutShort means that the connection ended before the body.
var errCutShort = fmt.Errorf("%w: its body was cut short", ErrBroken)

// Ready reports whether Read would return at once, because bytes of the body, its
// end or an error have arrived. It removes framing that has arrived.
func (b *Body) Ready() bool { return len(b.here()) > 0 || b.err != nil }

// Wait blocks until Ready and reads nothing, so that no buffer is held while a
// stream is silent. Errors: those of Read except io.EOF, which only Read returns.
func (b *Body) Wait() error {
	for !b.Ready() {
		b.more()
	}
	if errors.Is(b.err, io.EOF) || len(b.here()) > 0 {
		return nil
	}
	return b.err
}

// Read reads what has arrived of the body, across chunks, and waits only if nothing has.
// io.EOF means the true end of the body, and comes with the last bytes if it is known by
// then. Read returns 0 and nil only for an empty p. Errors are permanent. Errors:
// ErrBroken if the body was cut short or is malformed, ErrTimeout, ErrCanceled.
func (b *Body) Read(p []byte) (n int, err error) {
	for n == 0 && len(p) > 0 {
		for n < len(p) {
			piece := b.here()
			if len(piece) == 0 {
				break
			}
			m := copy(p[n:], piece)
			b.took(m)
			n += m
		}
		if n == 0 {
			if b.err != nil {
				return 0, b.err
			}
			b.more()
		}
	}
	if n > 0 && len(b.here()) == 0 && b.err == io.EOF {
		return n, io.EOF
	}
	return n, nil
}

// here returns the next piece of the body that has arrived, without framing.
func (b *Body) here() []byte {
	if b.err != nil {
		return nil
	}
	l := b.line
	ahead := l.ahead.Bytes()
	switch b.framing {
	case byLength:
		return ahead[:min(int64(len(ahead)), b.left)]
	case byChunks:
		n, err := b.chunks.Skip(ahead)
		l.ahead.Drop(n)
		if err == io.EOF {
			b.finished()
			return nil
		}
		if err != nil {
			b.err = fmt.Errorf("%w: %w", ErrBroken, err)
			return nil
		}
		ahead = l.ahead.Bytes()
		return ahead[:min(int64(len(ahead)), b.chunks.Data())]
	}
	return ahead
}

// took removes n bytes of the piece that here returned.
func (b *Body) took(n int) {
	b.line.ahead.Drop(n)
	switch b.framing {
	case byLength:
		if b.left -= int64(n); b.left == 0 {
			b.finished()
		}
	case byChunks:
		b.chunks.Took(n)
	}
}

// more waits for bytes when here returned none. It sets err if that fails.
func (b *Body) more() {
	b.renew()
	l := b.line
	b.came(l.sock.FillAhead(&l.ahead))
}

// finished records the true end of the body.
func (b *Body) finished() { b.err = io.EOF }

// renew extends the read deadline, but only when an eighth of the time-out has
// passed since the last time, and by that much more. So the silence allowed is
// never less than the time-out, and most pieces of a stream set no timer.
func (b *Body) renew() {
	idle := b.cn.client.o.IdleTimeout
	if now := time.Now(); now.Sub(b.renewed) > idle/8 {
		b.renewed = now
		_ = b.line.nc.SetReadDeadline(now.Add(idle + idle/8))
	}
}
