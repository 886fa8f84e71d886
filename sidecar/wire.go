package sidecar

import (
	"bytes"
	"errors"
	"io"

	"github.com/usher-sidecar/usher/sidecar/http1"
)

// errMalformedWire is what reading gives instead of bytes that are no HTTP/1.1.
var errMalformedWire = errors.New("request is malformed on the wire")

// clientChunks are strict: nothing that a client has reason to send is refused.
var clientChunks = http1.ChunkOptions{CheckTrailers: true, MaxTrailer: 8 << 10}

// A wireGuard follows the requests of one connection as they come off the wire,
// and stops what is malformed there before fasthttp sees it. It looks at what
// fasthttp does not keep of a head, the ends of its lines, the request line's
// too, and takes the framing off a body.
//
// Let through by fasthttp and stopped here: lines that end in a bare LF, blanks
// after a chunk's size, chunk extensions of any length and with any byte,
// hardly any data in very much framing, and in trailer sections bare LF, folded
// lines and names that are no tokens or frame a body. Trailers are dropped.
//
// Where a head frames its body in two ways the guard is lost, and passes
// everything: checkFraming refuses such a head, and nothing behind it is read.
// The zero value is ready.
type wireGuard struct {
	state  guardState
	head   []byte // of a head that comes in several pieces, what came before
	left   int64  // in a body of declared length
	chunks http1.Chunked
}

type guardState uint8

const (
	inHead guardState = iota
	inLength
	inChunks
	isLost
)

// inBody tells whether what comes next is a body's.
func (g *wireGuard) inBody() bool { return g.state == inLength || g.state == inChunks }

// declared is the length of the body that comes next, -1 where its chunks tell.
func (g *wireGuard) declared() int {
	if g.state == inChunks {
		return -1
	}
	return int(g.left)
}

// pass returns how many bytes of p are a head's, up to its end, and whether what
// follows them is acceptable. It is not for a body.
func (g *wireGuard) pass(p []byte) (n int, ok bool) {
	if g.state == isLost {
		return len(p), true
	}
	return g.passHead(p)
}

// next passes over the framing of a body at the beginning of p: skip bytes. data
// is how many bytes of the body come then, here or not; 0 where more framing has
// to tell. Errors: io.EOF at the body's end, errMalformedWire.
func (g *wireGuard) next(p []byte) (skip int, data int64, err error) {
	if g.state != inChunks {
		if g.left == 0 {
			err = io.EOF
		}
		return 0, g.left, err
	}
	skip, err = g.chunks.Skip(p)
	switch {
	case err == io.EOF:
		g.state = inHead
		return skip, 0, io.EOF
	case err != nil:
		return skip, 0, errMalformedWire
	}
	return skip, g.chunks.Data(), nil
}

// took tells that n bytes of a body's data were taken.
func (g *wireGuard) took(n int) {
	if g.state == inChunks {
		g.chunks.Took(n)
	} else if g.left -= int64(n); g.left == 0 {
		g.state = inHead
	}
}

// passHead takes bytes up to the end of a head.
func (g *wireGuard) passHead(p []byte) (n int, ok bool) {
	if len(g.head) == 0 {
		// Empty lines before a request are passed over (RFC 9112 section 2.2).
		for n < len(p) && (p[n] == '\r' || p[n] == '\n') {
			n++
		}
	}
	head, before := p[n:], 0
	if len(g.head) > 0 {
		before = len(g.head)
		g.head = append(g.head, p...)
		head = g.head
	}
	var f fields
	for from := 0; ; {
		end := bytes.IndexByte(head[from:], '\n')
		if end < 0 {
			if len(head) > readBufferSize {
				g.state, g.head = isLost, nil // fasthttp takes no head as large as this
			} else if before == 0 {
				g.head = append(g.head, head...)
			}
			return len(p), true
		}
		end += from
		if end == 0 || head[end-1] != '\r' {
			return max(n+end-before, 0), false
		}
		if end-1 == from {
			g.begin(&f)
			g.head = nil
			return n + end + 1 - before, true
		}
		if from > 0 {
			f.frame(head[from : end-1])
		}
		from = end + 1
	}
}

// begin finds out how the body after a head ends.
func (g *wireGuard) begin(f *fields) {
	length, ok := http1.ParseLength(f.length)
	switch {
	case f.contentLength+f.transferEncoding > 1, f.contentLength == 1 && !ok:
		g.state = isLost
	case f.transferEncoding == 1:
		g.state, g.chunks = inChunks, http1.NewChunked(clientChunks)
	case length > 0:
		g.state, g.left = inLength, length
	}
}
