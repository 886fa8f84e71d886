// Package relay passes an answer to the client: every piece of its body as soon as it
// arrives, and a clean end only if the model server ended it cleanly.
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
	Wait() error                // blocks until Ready
	Look() bool                 // takes in what has arrived, without waiting, and reports Ready
	Read(p []byte) (int, error) // io.EOF means only the true end, and may come with the last bytes
}

// A Client takes the answer.
type Client interface {
	// WriteParts writes pieces together; scratch is a buffer to join them in.
	WriteParts(scratch []byte, parts [][]byte) error
	Reset() // resets the connection, so that a partial answer does not look whole
	Cut()   // closes the connection
}

// A Taker is the part of a Client that Advance writes to.
type Taker interface {
	// TryWrite writes what the client takes at once, without waiting: n may be less
	// than len(p), even 0, without an error.
	TryWrite(p []byte) (n int, err error)
}

// A Framing is how the client finds the end of the body (RFC 9112 section 6).
type Framing int

// The framings.
const (
	ByLength Framing = iota // a declared length, or no body at all
	ByChunks
	ByClose // HTTP/1.0 without a length: the body ends with the connection
)

// A Relay passes on one answer. Fill it in and call Run once; or call Start, and then
// Advance from a loop until it has Ended.
type Relay struct {
	Client  Client
	Source  Source
	Framing Framing
	Stream  dialect.Stream // zero: not a stream, so no event can be appended
	Account *account.Request
	Meter   account.Meter
	OnPiece func(now time.Time) // called for each piece; must cost nanoseconds

	counts counts
	tail   eventTail
	progress

	Finish dialect.Finish // looks for the stream's dialect.Ending
	Strict error          // the error if the body ends without it; nil: none is needed
}

// counts are what Record writes into the Account. They are kept here, beside all else that a
// piece needs: between the tokens of a stream others use the processor's caches, and a
// token costs less the less memory is touched for it.
type counts struct {
	began  time.Time // the Account's Times.Start
	pieces int
	bytes  int64
	last   time.Duration // when the last piece came, after began
}

// buffers hold a piece of body with its chunk framing. A relay takes one only while
// it has data to move, so that a silent stream holds none.
var buffers = sync.Pool{New: func() any { return new(buffer) }}

type buffer struct {
	piece [16 << 10]byte
	join  [17 << 10]byte
	size  [20]byte
	parts [4][]byte // of one write
}

var (
	crlf      = []byte("\r\n")
	lastChunk = []byte("\r\n0\r\n\r\n")
)

// Run writes the head, which includes its empty line, and moves the body. The head is
// sent together with the first piece if that is available already. source is the error
// that broke the body on the model server's side, client the error of writing; both are
// nil if the answer is complete.
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

// Start does what Run does until it would have to wait for the model server. At that
// point everything has been written, and no buffer is kept.
func (r *Relay) Start(head []byte) (waits bool, source, client error) {
	r.counts.began = r.Account.Times.Start
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

// read reads the next piece of the body. done reports its true end.
func (r *Relay) read(b *buffer, now func() time.Time) (p []byte, done bool, err error) {
	n, err := r.Source.Read(b.piece[:])
	if n > 0 {
		r.count(b.piece[:n], now())
	}
	if done = err == io.EOF; !done {
		return b.piece[:n], false, err
	}
	if r.Strict != nil && r.Finish.Missing() {
		// A clean end would make a partial answer look whole.
		return b.piece[:n], false, r.Strict
	}
	return b.piece[:n], true, nil
}

// piece writes what is available: head, bytes, and the end of the body.
func (r *Relay) piece(b *buffer, head, p []byte, done bool) error {
	n := b.frame(r.Framing, head, p, done)
	if n == 0 {
		return nil
	}
	err := r.Client.WriteParts(b.join[:], b.parts[:n])
	clear(b.parts[:])
	return err
}

// frame collects the parts to write together, and returns how many there are; 0 if
// there is nothing to write.
func (b *buffer) frame(f Framing, head, p []byte, done bool) (parts int) {
	add := func(part []byte) {
		if len(part) > 0 {
			b.parts[parts] = part
			parts++
		}
	}
	add(head)
	switch {
	case f != ByChunks:
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

// count counts a piece.
func (r *Relay) count(p []byte, now time.Time) {
	c, at := &r.counts, now.Sub(r.counts.began)
	if c.pieces == 0 {
		r.Account.Times.FirstByte = at
		r.Meter.FirstByte(r.Account)
	} else {
		r.Meter.Gap(at - c.last)
	}
	c.last = at
	c.pieces++
	c.bytes += int64(len(p))
	r.OnPiece(now)
	if r.Stream != dialect.NoStream {
		r.tail.write(p)
	}
	r.Finish.Write(p)
}

// Record writes into the Account what was passed on. It must be called before anybody
// reads that there.
func (r *Relay) Record() {
	r.Account.Answer.Pieces, r.Account.BytesOut = r.counts.pieces, r.counts.bytes
}

// Break appends an event to a stream, to tell its reader what broke it, and cuts the
// connection, so that a break never looks like a clean end. No event is written if event
// is nil or the answer is not a stream. With chunks or a length a plain close shows the
// break; if the close itself is the framing, only a reset does.
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
