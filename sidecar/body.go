package sidecar

import (
	"errors"
	"io"
	"math/bits"
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

// A body is a request body read whole, in a pooled buffer.
type body struct {
	buf   *[]byte
	room  *room // where the buffer counts; nil when it does not
	taken int   // bytes of room
}

// bytes is what was read; valid until release.
func (b *body) bytes() []byte {
	if b.buf == nil {
		return nil
	}
	return *b.buf
}

// leaveRoom ends the counting in the room: the body is read and its sender
// known. It may be called more than once.
func (b *body) leaveRoom() {
	if b.room != nil {
		b.room.give(b.taken)
		b.room, b.taken = nil, 0
	}
}

// release gives the buffer back. It may be called more than once.
func (b *body) release() {
	b.leaveRoom()
	if b.buf != nil {
		putBuffer(b.buf)
		b.buf = nil
	}
}

// read takes the whole body from r, at most limit bytes of it, and counts its
// memory in the room until leaveRoom. Errors: errBodyTooLarge, errBodyRoom,
// or what r failed with.
func (b *body) read(r io.Reader, length, limit int, room *room) error {
	b.room = room
	b.buf = getBuffer(firstBody)
	for {
		if size := cap(*b.buf); len(*b.buf) == size && !b.grow(nextSize(size, length, limit)) {
			return errBodyRoom
		}
		buf := *b.buf
		n, err := r.Read(buf[len(buf):cap(buf)])
		*b.buf = buf[:len(buf)+n]
		switch {
		case len(*b.buf) > limit:
			return errBodyTooLarge
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// grow moves what was read into a buffer of size bytes, if there is room for it
// beside the one that it replaces.
func (b *body) grow(size int) bool {
	n := size - firstBody
	if !b.room.take(n) {
		return false
	}
	small := b.buf
	b.buf = getBuffer(size)
	*b.buf = append(*b.buf, *small...)
	putBuffer(small)
	b.room.give(b.taken)
	b.taken = n
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

// bodyFault says what reading a body failed with.
func bodyFault(err error) error {
	switch {
	case errors.Is(err, errBodyTooLarge), errors.Is(err, errBodyRoom):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errBodyTimeout
	case isBreak(err):
		return errClientGone
	}
	return errBodyFraming
}

// A clientBody is a connection while the body of a request is read from it.
type clientBody conn

// body is that of the request whose head was read last.
func (c *conn) body() io.Reader { return (*clientBody)(c) }

// Read reads what comes, its framing taken off. io.EOF is the true end alone, and
// comes with the last bytes where it is known then. errMalformedWire tells of
// chunks that are none.
func (b *clientBody) Read(p []byte) (int, error) {
	c := (*conn)(b)
	for {
		skip, data, err := c.guard.next(c.ahead.Bytes())
		c.ahead.Drop(skip)
		if err != nil {
			return 0, err
		}
		if data > 0 {
			return b.data(p[:min(int64(len(p)), data)])
		}
		if err := c.ahead.Fill(c.Conn); err != nil {
			return 0, cutShort(err)
		}
	}
}

// data reads what is here of data. Where nothing is ahead it goes around the
// buffer: large bodies are not copied twice.
func (b *clientBody) data(p []byte) (n int, err error) {
	c := (*conn)(b)
	if !c.ahead.Empty() {
		n = copy(p, c.ahead.Bytes())
		c.ahead.Drop(n)
	} else {
		n, err = c.Conn.Read(p)
	}
	c.guard.took(n)
	if err == nil && !c.guard.inBody() {
		return n, io.EOF
	}
	return n, cutShort(err)
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

// skipBody reads over what the handler left of a body. io.EOF is also what is
// too large.
func (c *conn) skipBody() error {
	if !c.guard.inBody() {
		return nil
	}
	_, err := io.CopyN(io.Discard, c.body(), maxSkipped)
	switch {
	case err == nil && c.guard.inBody():
		return io.EOF
	case err == io.EOF:
		return nil
	}
	return err
}
