package front

import (
	"errors"
	"io"
	"math/bits"
	"net"
	"os"
	"sync"
)

// firstBody is the size of the buffer that a body starts with, smallBody of one whose
// declared length is less than that: most prompts are, and many may arrive at once. The
// buffer grows with what arrives, never with what Content-Length promises.
const (
	smallBody = 4 << 10
	firstBody = 16 << 10
)

// bodies holds unused buffers: smallBody, firstBody and its doubles, with a pool for each
// size, so that a small body never holds a large buffer. The largest has room for the
// limit and one byte, whatever size that is.
var bodies [bits.UintSize]sync.Pool

func poolOf(size int) *sync.Pool { return &bodies[bits.Len(uint(size-1)/smallBody)] }

func getBuffer(size int) *[]byte {
	if b, ok := poolOf(size).Get().(*[]byte); ok && cap(*b) == size {
		return b
	}
	b := make([]byte, 0, size)
	return &b
}

func putBuffer(b *[]byte) {
	*b = (*b)[:0]
	poolOf(cap(*b)).Put(b)
}

// Errors of a request's body.
var (
	ErrBodyTooLarge = errors.New("body too large")
	ErrBodyBudget   = errors.New("no memory left for the body")
	ErrBodyTimeout  = errors.New("body did not arrive in time")
	ErrBodyFraming  = errors.New("body framing is malformed")
	// ErrGone: the client broke off.
	ErrGone = errors.New("client gone")
)

// A Body is a whole request body in a pooled buffer. The zero value is empty.
type Body struct {
	buf    *[]byte
	budget *Budget // which counts the buffer
	taken  int     // bytes taken from the budget while the body is read
	held   int     // bytes taken from the budget of all bodies

	foreign bool // buf is not from a pool
}

// Bytes returns the body; valid until Release.
func (b *Body) Bytes() []byte {
	if b.buf == nil {
		return nil
	}
	return *b.buf
}

// LeaveBudget stops counting the body among those being read, once it is read and its
// sender known. It may be called more than once.
func (b *Body) LeaveBudget() {
	if b.taken > 0 {
		b.budget.give(b.taken)
		b.taken = 0
	}
}

// Replace replaces the content of the body and returns its buffer to the pool. The new
// content counts as much as the old.
func (b *Body) Replace(content []byte) {
	if b.buf != nil {
		putBuffer(b.buf)
		b.buf, b.foreign = &content, true
	}
}

// Release returns the buffer to the pool. It may be called more than once, but not while
// others use the body.
func (b *Body) Release() {
	b.LeaveBudget()
	if b.buf == nil {
		return
	}
	if !b.foreign {
		putBuffer(b.buf)
	}
	b.budget.drop(b.held)
	b.buf, b.held, b.foreign = nil, 0, false
}

// Read reads the whole body of the request being served on c, at most limit bytes, and
// counts its memory in the budget until LeaveBudget. Errors: ErrBodyTooLarge,
// ErrBodyBudget, ErrBodyTimeout, ErrBodyFraming, ErrGone.
func (b *Body) Read(c *Conn, limit int, budget *Budget) error {
	err := b.read((*clientBody)(c), int(c.Head.Length()), limit, budget)
	switch {
	case err == nil, errors.Is(err, ErrBodyTooLarge), errors.Is(err, ErrBodyBudget):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ErrBodyTimeout
	case isBreak(err):
		return ErrGone
	}
	return ErrBodyFraming
}

func (b *Body) read(r io.Reader, length, limit int, budget *Budget) error {
	size := firstBody
	if length >= 0 && length < smallBody {
		size = smallBody
	}
	if !budget.hold(size) {
		return ErrBodyBudget
	}
	b.budget, b.held = budget, size
	b.buf = getBuffer(size)
	for {
		if size := cap(*b.buf); len(*b.buf) == size && !b.grow(nextSize(size, length, limit)) {
			return ErrBodyBudget
		}
		buf := *b.buf
		n, err := r.Read(buf[len(buf):cap(buf)])
		*b.buf = buf[:len(buf)+n]
		switch {
		case len(*b.buf) > limit:
			return ErrBodyTooLarge
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// grow moves the body into a buffer of size bytes, if the budget has room for that in
// addition to the old one.
func (b *Body) grow(size int) bool {
	n := size - firstBody
	if !b.budget.take(n) {
		return false
	}
	if !b.budget.hold(size) {
		b.budget.give(n)
		return false
	}
	small := b.buf
	b.buf = getBuffer(size)
	*b.buf = append(*b.buf, *small...)
	putBuffer(small)
	b.budget.give(b.taken)
	b.budget.drop(b.held)
	b.taken, b.held = n, size
	return true
}

// nextSize doubles a buffer's size. If the length is declared, it may take four times the
// size, so that less is copied on the way: the sizes are the final one divided by powers
// of four. The buffer for the limit has one more byte, which detects an excess.
func nextSize(size, length, limit int) int {
	next := max(2*size, firstBody)
	if length >= next {
		next = size << bits.Len(uint(length/size)) // holds the body and one byte more, in which its end shows
		for next > 4*size {
			next /= 4
		}
	}
	return min(next, limit+1)
}

// A clientBody is a connection while a request's body is read from it: that of the last
// head read.
type clientBody Conn

// Read reads the body without its framing. io.EOF means only the true end, and comes with
// the last bytes if it is known by then. errMalformedWire means malformed chunks.
func (b *clientBody) Read(p []byte) (int, error) { return b.read(p, invite) }

// read is Read, but calls before each time before it may wait for the client.
func (b *clientBody) read(p []byte, before func(*Conn) error) (int, error) {
	for {
		skip, data, err := b.guard.next(b.ahead.Bytes())
		b.ahead.Drop(skip)
		if err != nil {
			return 0, err
		}
		if data > 0 {
			return b.readData(p[:min(int64(len(p)), data)], before)
		}
		if err := before((*Conn)(b)); err != nil {
			return 0, err
		}
		if err := b.ahead.Fill(b.Conn); err != nil {
			return 0, cutShort(err)
		}
	}
}

// readData reads data that is available. If nothing is ahead, it bypasses that buffer, so
// that large bodies are not copied twice.
func (b *clientBody) readData(p []byte, before func(*Conn) error) (n int, err error) {
	if !b.ahead.Empty() {
		n = copy(p, b.ahead.Bytes())
		b.ahead.Drop(n)
	} else if err = before((*Conn)(b)); err == nil {
		n, err = b.Conn.Read(p)
	}
	b.guard.took(n)
	if n > 0 && !b.guard.inBody() {
		return n, io.EOF // it is whole, even if TLS has read the client's close_notify along with it
	}
	return n, cutShort(err)
}

// invite tells a client that waits for it to send the body (RFC 9110 section 10.1.1),
// because the body is being read.
func invite(c *Conn) error {
	if c.Head.Value(expect) == nil || !c.Head.HTTP11 || c.state.continued {
		return nil
	}
	c.state.continued = true
	_, err := io.WriteString(c.Conn, "HTTP/1.1 100 Continue\r\n\r\n")
	return err
}

// cutShort keeps the end of the connection from being mistaken for the end of the body.
func cutShort(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// maxSkipped is how much of an unread body is skipped to get to the next request.
// Skipping more would cost more than a new connection.
const maxSkipped = 256 << 10

// skip skips what the handler did not read of a body. It returns io.EOF also if that is
// too much.
func (b *clientBody) skip() error {
	if !b.guard.inBody() {
		return nil
	}
	b.state.continued = true // do not invite the client to send it
	_, err := io.CopyN(io.Discard, b, maxSkipped)
	switch {
	case err == nil && b.guard.inBody():
		return io.EOF
	case err == io.EOF:
		return nil
	}
	return err
}

// isBreak reports whether err means that the client broke off.
func isBreak(err error) bool {
	var network net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.As(err, &network)
}
