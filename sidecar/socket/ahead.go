package socket

import (
	"cmp"
	"io"
	"sync"
)

// An Ahead holds bytes that were read from a connection but not used yet. It has a buffer
// only while it is not empty. Make it with NewAhead; only one goroutine at a time may use
// it.
type Ahead struct {
	buffers  *sync.Pool
	buf      *[]byte // nil while nothing is ahead
	from, to int     // the bytes ahead are (*buf)[from:to]
}

// NewAhead returns an empty Ahead whose buffers come from a pool of *[]byte.
func NewAhead(buffers *sync.Pool) Ahead { return Ahead{buffers: buffers} }

// Empty reports whether nothing is ahead.
func (a *Ahead) Empty() bool { return a.buf == nil }

// Bytes returns the bytes ahead, valid until all of them are dropped.
func (a *Ahead) Bytes() []byte {
	if a.buf == nil {
		return nil
	}
	return (*a.buf)[a.from:a.to]
}

// Drop removes the first n bytes.
func (a *Ahead) Drop(n int) {
	if a.from += n; a.from >= a.to {
		a.Release()
	}
}

// Release removes everything.
func (a *Ahead) Release() {
	if a.buf != nil {
		a.buffers.Put(a.buf)
		a.buf = nil
	}
	a.from, a.to = 0, 0
}

// Fill waits for bytes and reads once if nothing is ahead. It holds no buffer while it
// waits if r supports that, as a Conn does. Errors: those of r, io.EOF.
func (a *Ahead) Fill(r io.Reader) error {
	if !a.Empty() {
		return nil
	}
	if c, ok := r.(interface{ FillAhead(*Ahead) error }); ok {
		return c.FillAhead(a)
	}
	return a.fill(r)
}

// fill holds the buffer while it waits.
func (a *Ahead) fill(r io.Reader) error {
	buf := a.buffers.Get().(*[]byte)
	n, err := r.Read(*buf)
	if n == 0 {
		a.buffers.Put(buf)
		return cmp.Or(err, io.ErrNoProgress)
	}
	a.buf, a.from, a.to = buf, 0, n
	return nil
}
