// Package relay passes an answer to the client: every piece of its body as soon as
// it arrives, and a clean end only if the model server made one.
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
	Look() bool                 // takes in what has come, without waiting, and reports Ready
	Read(p []byte) (int, error) // io.EOF is the true end alone, and may come with the last bytes
}

// A Client takes the answer.
type Client interface {
	// WriteParts writes pieces together; scratch is a buffer to join them in.
	WriteParts(scratch []byte, parts [][]byte) error
	// TryWrite writes what the client takes at once, without waiting: n may be less
	// than len(p), even 0, without an error.
	TryWrite(p []byte) (n int, err error)
	Reset() // cuts the connection so that what came is not taken for a whole answer
	Cut()   // cuts the connection
}

// A Framing shows the client where the body ends (RFC 9112 section 6).
type Framing int

// The framings.
const (
	ByLength Framing = iota // a declared length, or no body at all
	ByChunks
	ByClose // HTTP/1.0 without a length: only the connection's end can tell
)

// A Relay passes one answer on. Fill it in and call Run once; or call Start, and
// Advance from a loop, until there is a Result.
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

	// What Advance waits for.
	rest           []byte // of the last write: the client did not take it
	done           bool   // nothing comes after the rest
	source, client error  // what ended it
}

// buffers hold a piece of body with its chunk framing. A relay takes one only while
// it has data to move, so that a silent stream holds none.
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

// Run writes the head, which includes its empty line, and moves the body. The head
// is sent together with the first piece if that is available already. source is
// what broke the body on the model server's side, client the error of writing; both
// are nil if the answer is complete.
func (r *Relay) Run(head []byte) (source, client error) {
	for {
		waits, source, client := r.Start(head)
		if !waits {
			return source, client
		}
		if err := r.Source.Wait(); err != nil {
			return err, nil
		}
		head = nil
	}
}

// Start does what Run does until it would have to wait for the model server.
// Nothing is held back then, and no buffer is kept.
func (r *Relay) Start(head []byte) (waits bool, source, client error) {
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	for r.Source.Ready() {
		p, done, err := r.read(b, time.Now)
		if werr := r.piece(b, head, p, done); werr != nil {
			return false, nil, werr
		}
		head = nil
		if done || err != nil {
			return false, err, nil
		}
	}
	if len(head) > 0 {
		if err := r.piece(b, head, nil, false); err != nil {
			return false, nil, err
		}
	}
	return true, nil, nil
}

// read takes the next piece of the body. done is its true end.
func (r *Relay) read(b *buffer, now func() time.Time) (p []byte, done bool, err error) {
	n, err := r.Source.Read(b.piece[:])
	if n > 0 {
		r.passed(b.piece[:n], now())
	}
	if done = err == io.EOF; !done {
		return b.piece[:n], false, err
	}
	if r.Strict != nil && r.Finish.Missing() {
		// The client would take a part for the whole.
		return b.piece[:n], false, r.Strict
	}
	return b.piece[:n], true, nil
}

// piece writes what is available: head, bytes, and the end of the body.
func (r *Relay) piece(b *buffer, head, p []byte, done bool) error {
	n := r.frame(b, head, p, done)
	if n == 0 {
		return nil
	}
	err := r.Client.WriteParts(b.join[:], b.parts[:n])
	clear(b.parts[:])
	return err
}

// frame collects the parts to write together, and returns how many there are; 0 if
// there is nothing to write.
func (r *Relay) frame(b *buffer, head, p []byte, done bool) (parts int) {
	add := func(part []byte) {
		if len(part) > 0 {
			b.parts[parts] = part
			parts++
		}
	}
	add(head)
	switch {
	case r.Framing != ByChunks:
		add(p)
	case len(p) > 0:
		add(append(strconv.AppendInt(b.size[:0], int64(len(p)), 16), "\r\n"...))
		add(p)
		if done {
			add(lastChunk)
		} else {
			add(crlf)
		}
	case done:
		add(lastChunk[2:])
	}
	return parts
}

// passed records a piece.
func (r *Relay) passed(p []byte, now time.Time) {
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

// Break tells the reader of a stream what broke it, with a last event, and cuts the
// connection, so that a break is never a clean end. No event is written if it is
// nil or the answer is not a stream. With chunks and lengths a plain close shows
// the break; where the close is the framing, only a reset does.
func (r *Relay) Break(event []byte) {
	if event != nil && r.Stream != dialect.NoStream {
		b := buffers.Get().(*buffer)
		// If the client is gone too, there is nothing left to do.
		_ = r.piece(b, nil, append([]byte(r.tail.separator(r.Stream)), event...), false)
		buffers.Put(b)
	}
	if r.Framing == ByClose {
		r.Client.Reset()
		return
	}
	r.Client.Cut()
}
