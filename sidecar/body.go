package sidecar

import (
	"errors"
	"io"
	"os"
	"sync"
)

// Sizes of request bodies in memory. A body grows with what arrives, never with
// what its Content-Length promises; buffers above maxPooledBody are not kept.
const (
	firstBody     = 16 << 10
	maxPooledBody = 1 << 20
)

var bodies = sync.Pool{New: func() any { return newBody() }}

func newBody() *[]byte {
	b := make([]byte, 0, firstBody)
	return &b
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
	if b.buf != nil && cap(*b.buf) <= maxPooledBody {
		*b.buf = (*b.buf)[:0]
		bodies.Put(b.buf)
	}
	b.buf = nil
}

// read takes the whole body from r, at most limit bytes of it, and counts its
// memory in the room until leaveRoom. Errors: errBodyTooLarge, errBodyRoom,
// or what r failed with.
func (b *body) read(r io.Reader, length, limit int, room *room) error {
	b.room = room
	b.buf = bodies.Get().(*[]byte)
	if !b.count(cap(*b.buf)) { // a large one that was kept
		b.buf = newBody()
	}
	if r == nil {
		return nil
	}
	buf := (*b.buf)[:0]
	defer func() { *b.buf = buf }()
	for {
		if len(buf) == cap(buf) {
			size := nextSize(cap(buf), length, limit)
			before := b.taken
			if !b.count(size) {
				return errBodyRoom
			}
			buf = append(make([]byte, 0, size), buf...)
			room.give(before)
			b.taken -= before
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case len(buf) > limit:
			return errBodyTooLarge
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// count takes room for a buffer of size bytes, beside what is taken already.
func (b *body) count(size int) bool {
	n := max(size-firstBody, 0)
	if !b.room.take(n) {
		return false
	}
	b.taken += n
	return true
}

// nextSize doubles a buffer's size, but not beyond the declared length or the
// limit: one byte more than either, so that the end of the body and its excess
// show.
func nextSize(size, length, limit int) int {
	next := 2 * size
	if length >= 0 && next > length+1 {
		next = max(length+1, size+1)
	}
	return min(next, max(limit+1, size+1))
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
