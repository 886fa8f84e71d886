// Package relay is how an answer gets to the client: every piece of its body as
// soon as it is here, and never a clean end that the model server did not make.
package relay

import (
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/sidecar/account"
)

// A Source is the body of the model server's answer.
type Source interface {
	Ready() bool                // Read will not wait
	Wait() error                // until it will not
	Read(p []byte) (int, error) // io.EOF is the true end alone, and may come with the last bytes
}

// A Client takes the answer.
type Client interface {
	// WriteParts writes pieces as one; scratch is room to join them in.
	WriteParts(scratch []byte, parts [][]byte) error
	Reset() // cuts the connection so that what came is not taken for a whole answer
	Cut()   // cuts the connection
}

// A Framing is how the client learns where the body ends (RFC 9112 section 6).
type Framing int

// The framings.
const (
	ByLength Framing = iota // a declared length, or no body at all
	ByChunks
	ByClose // HTTP/1.0 without a length: only the connection's end can tell
)

// A Relay passes one answer on. Fill it in, and Run it once.
type Relay struct {
	Client  Client
	Source  Source
	Framing Framing
	Stream  dialect.Stream // to which a last event can be appended; zero: none
	Finish  dialect.Finish // looks for the stream's last word
	Strict  error          // what a clean end without it is taken for; nil: for the end
	Account *account.Request
	Meter   account.Meter
	Saw     func(now time.Time) // bytes of the model server's; must cost nanoseconds

	tail eventTail // of the stream
	last time.Time // when the last piece came
}

// buffers hold a piece of body and room for its chunk framing. A relay takes one
// only while it has something to move: a silent stream holds none.
var buffers = sync.Pool{New: func() any { return new(buffer) }}

type buffer struct {
	piece [16 << 10]byte
	join  [17 << 10]byte
	size  [20]byte
	parts [4][]byte // what one write is put together of
}

var (
	crlf      = []byte("\r\n")
	lastChunk = []byte("\r\n0\r\n\r\n")
)

// Run writes the head, whole with its empty line, and moves the body. The head
// goes with the first piece where that is here already, and alone where it is
// not. source is what broke the body at the model server's side, client what
// writing failed with; both are nil when the answer is whole.
func (r *Relay) Run(head []byte) (source, client error) {
	b := buffers.Get().(*buffer)
	defer func() {
		if b != nil {
			buffers.Put(b)
		}
	}()
	for {
		if !r.Source.Ready() {
			// About to wait: nothing is held back, and no buffer kept.
			if len(head) > 0 {
				if err := r.write(b, head); err != nil {
					return nil, err
				}
				head = nil
			}
			buffers.Put(b)
			b = nil
			if err := r.Source.Wait(); err != nil {
				return err, nil
			}
			b = buffers.Get().(*buffer)
		}
		n, err := r.Source.Read(b.piece[:])
		if n > 0 {
			r.passed(b.piece[:n])
		}
		done := err == io.EOF
		if done && r.Strict != nil && r.Finish.Missing() {
			// Its client would take what it got for the whole.
			done, err = false, r.Strict
		}
		if werr := r.piece(b, head, b.piece[:n], done); werr != nil {
			return nil, werr
		}
		head = nil
		if done {
			return nil, nil
		}
		if err != nil {
			return err, nil
		}
	}
}

// piece writes what there is: head, bytes, and the end of the body.
func (r *Relay) piece(b *buffer, head, p []byte, done bool) error {
	if r.Framing != ByChunks {
		if len(head)+len(p) == 0 {
			return nil
		}
		return r.write(b, head, p)
	}
	switch {
	case len(p) > 0:
		size := append(strconv.AppendInt(b.size[:0], int64(len(p)), 16), "\r\n"...)
		end := crlf
		if done {
			end = lastChunk
		}
		return r.write(b, head, size, p, end)
	case done:
		return r.write(b, head, lastChunk[2:])
	case len(head) > 0:
		return r.write(b, head)
	}
	return nil
}

func (r *Relay) write(b *buffer, pieces ...[]byte) error {
	parts := b.parts[:copy(b.parts[:], pieces)] // the variadic slice would be an allocation
	err := r.Client.WriteParts(b.join[:], parts)
	clear(parts)
	return err
}

// passed accounts for a piece.
func (r *Relay) passed(p []byte) {
	now := time.Now()
	a := r.Account
	if a.Times.FirstByte == 0 {
		a.Times.FirstByte = now.Sub(a.Times.Start)
		r.Meter.FirstByte(a)
	} else {
		r.Meter.Gap(now.Sub(r.last))
	}
	r.last = now
	a.Answer.Pieces++
	a.BytesOut += int64(len(p))
	r.Saw(now)
	if r.Stream != dialect.NoStream {
		r.tail.write(p)
	}
	r.Finish.Write(p)
}

// Break tells the reader of a stream what broke it, by a last event, and cuts the
// connection: a break is never a clean end. No event is written where it is nil,
// or the answer is no stream. Chunks and lengths make a plain close visible; where
// the close is the framing, only a reset is.
func (r *Relay) Break(event []byte) {
	if event != nil && r.Stream != dialect.NoStream {
		b := buffers.Get().(*buffer)
		// The client may be gone too, and there is nothing more to be done for it.
		_ = r.piece(b, nil, append([]byte(r.tail.separator(r.Stream)), event...), false)
		buffers.Put(b)
	}
	if r.Framing == ByClose {
		r.Client.Reset()
		return
	}
	r.Client.Cut()
}
