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

var bodies = sync.Pool{New: func() any { b := make([]byte, 0, firstBody); return &b }}

// A body is a request body read whole, in a pooled buffer.
type body struct {
	buf *[]byte
}

// bytes is what was read; valid until release.
func (b *body) bytes() []byte {
	if b.buf == nil {
		return nil
	}
	return *b.buf
}

// release gives the buffer back. It may be called more than once.
func (b *body) release() {
	if b.buf != nil && cap(*b.buf) <= maxPooledBody {
		*b.buf = (*b.buf)[:0]
		bodies.Put(b.buf)
	}
	b.buf = nil
}

// read takes the whole body from r, at most limit bytes of it. Errors:
// errBodyTooLarge, or what r failed with.
func (b *body) read(r io.Reader, length, limit int) error {
	b.buf = bodies.Get().(*[]byte)
	if r == nil {
		return nil
	}
	buf := (*b.buf)[:0]
	defer func() { *b.buf = buf }()
	for {
		if len(buf) == cap(buf) {
			buf = grow(buf, length, limit)
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

// grow doubles the buffer, but not beyond the declared length or the limit:
// one byte more than either, so that the end of the body and its excess show.
func grow(buf []byte, length, limit int) []byte {
	size := 2 * cap(buf)
	if length >= 0 && size > length+1 {
		size = max(length+1, cap(buf)+1)
	}
	size = min(size, max(limit+1, cap(buf)+1))
	return append(make([]byte, 0, size), buf...)
}

// bodyFault says what reading a body failed with. What the connection failed
// with is the better source: fasthttp hides it in errors about chunks.
func (c *conn) bodyFault(err error) error {
	if c.failed != nil {
		err = c.failed
	}
	switch {
	case errors.Is(err, errBodyTooLarge):
		return errBodyTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errBodyTimeout
	case isBreak(err):
		return errClientGone
	}
	return errBodyFraming
}
