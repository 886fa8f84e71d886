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
	if r == nil {
		return nil
	}
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

// bodyFault says what reading a body failed with. What the connection failed
// with is the better source: fasthttp hides it in errors about chunks.
func (c *conn) bodyFault(err error) error {
	if c.failed != nil {
		err = c.failed
	}
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
