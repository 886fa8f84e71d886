package front

import (
	"errors"
	"io"
	"math/bits"
	"net"
	"os"
	"sync"
)

// firstBody is the size of the buffer that every body begins with. A body grows
// with what arrives, never with what its Content-Length promises.
const firstBody = 16 << 10

// bodies hold the buffers that are not in use: firstBody and its doubles, each
// size in a pool of its own, so that a small body never holds a large buffer.
// The largest is of the limit and one byte, whatever size that makes.
var bodies [bits.UintSize]sync.Pool

func poolOf(size int) *sync.Pool { return &bodies[bits.Len(uint(size-1)/firstBody)] }

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
	// ErrGone is the client's breaking off.
	ErrGone = errors.New("client gone")
)

// A Body is a request body read whole, in a pooled buffer. The zero value is
// empty.
type Body struct {
	buf    *[]byte
	budget *Budget // where the buffer counts
	taken  int     // bytes of it, of what bodies may have that are being read
	held   int     // of what all may have

	foreign bool // buf is of no pool
}

// Bytes is what was read; valid until Release.
func (b *Body) Bytes() []byte {
	if b.buf == nil {
		return nil
	}
	return *b.buf
}

// LeaveBudget ends the counting there: the body is read and its sender known. It
// may be called more than once.
func (b *Body) LeaveBudget() {
	if b.taken > 0 {
		b.budget.give(b.taken)
		b.taken = 0
	}
}

// Replace puts another content into the body's place, which counts as it did, and
// gives its buffer back.
func (b *Body) Replace(content []byte) {
	if b.buf != nil {
		putBuffer(b.buf)
		b.buf, b.foreign = &content, true
	}
}

// Release gives the buffer back. It may be called more than once, by whoever is the
// only one to use the body then.
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

// Read takes the whole body of the request that is served on c, at most limit
// bytes of it, and counts its memory in the budget until LeaveBudget. Errors:
// ErrBodyTooLarge, ErrBodyBudget, ErrBodyTimeout, ErrBodyFraming, ErrGone.
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
	if !budget.hold(firstBody) {
		return ErrBodyBudget
	}
	b.budget, b.held = budget, firstBody
	b.buf = getBuffer(firstBody)
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

// grow moves what was read into a buffer of size bytes, if the budget has as much
// beside the one that it replaces.
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

// nextSize doubles a buffer's size. Where the length is declared it may take
// four times the size, so that less is copied on the way: its steps are the last
// buffer's quarters. The limit's buffer has one byte more, in which the excess shows.
func nextSize(size, length, limit int) int {
	next := 2 * size
	if length >= next {
		next = size << bits.Len(uint(length/size)) // holds it, and the byte in which its end shows
		for next > 4*size {
			next /= 4
		}
	}
	return min(next, limit+1)
}

// A clientBody is a connection while the body of a request is read from it: of the one
// whose head was read last.
type clientBody Conn

// Read reads what comes, its framing taken off. io.EOF is the true end alone, and
// comes with the last bytes where it is known then. errMalformedWire tells of
// chunks that are none.
func (b *clientBody) Read(p []byte) (int, error) { return b.read(p, (*Conn).invite) }

// read is that; before is called each time that the client may be waited for.
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

// readData reads what is here of data. Where nothing is ahead it goes around the
// buffer: large bodies are not copied twice.
func (b *clientBody) readData(p []byte, before func(*Conn) error) (n int, err error) {
	if !b.ahead.Empty() {
		n = copy(p, b.ahead.Bytes())
		b.ahead.Drop(n)
	} else if err = before((*Conn)(b)); err == nil {
		n, err = b.Conn.Read(p)
	}
	b.guard.took(n)
	if err == nil && !b.guard.inBody() {
		return n, io.EOF
	}
	return n, cutShort(err)
}

// invite tells a client that waits for it to send the body (RFC 9110 section
// 10.1.1): whoever reads wants it.
func (c *Conn) invite() error {
	if c.Head.Value(expect) == nil || !c.Head.HTTP11 || c.state.continued {
		return nil
	}
	c.state.continued = true
	_, err := io.WriteString(c.Conn, "HTTP/1.1 100 Continue\r\n\r\n")
	return err
}

// cutShort keeps the end of the connection from looking like that of the body.
func cutShort(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// maxSkipped is how much of a body that nobody wanted is read to get to the next
// request; it is not worth more than a new connection.
const maxSkipped = 256 << 10

// skip reads over what the handler left of a body. io.EOF is also what is too large.
func (b *clientBody) skip() error {
	if !b.guard.inBody() {
		return nil
	}
	b.state.continued = true // it is not wanted
	_, err := io.CopyN(io.Discard, b, maxSkipped)
	switch {
	case err == nil && b.guard.inBody():
		return io.EOF
	case err == io.EOF:
		return nil
	}
	return err
}

// isBreak reports whether err is the client breaking off.
func isBreak(err error) bool {
	var network net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.As(err, &network)
}
