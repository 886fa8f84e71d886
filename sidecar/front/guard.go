package front

import (
	"bytes"
	"errors"
	"io"

	"github.com/usher-sidecar/usher/sidecar/http1"
)

// errMalformedWire is the error of reading bytes that are not HTTP/1.1.
var errMalformedWire = errors.New("request is malformed on the wire")

// clientChunks are how a client's chunks are read.
var clientChunks = http1.ChunkOptions{CheckTrailers: true, MaxTrailer: 8 << 10}

// A guard follows the requests of one connection as they come off the wire, and stops
// malformed ones before fasthttp sees them: it finds the end of each head, and removes
// the framing from each body.
//
// Accepted by fasthttp and stopped here: lines that end in a bare LF, blanks after a
// chunk's size, chunk extensions of any length and with any byte, hardly any data in very
// much framing, and in trailer sections bare LF, folded lines, and names that are not
// tokens or that frame a body. Trailers are dropped.
//
// If a head frames its body in two ways, the guard stops following the connection and
// lets everything pass: such a head is refused, and nothing behind it is read. The zero
// value is ready.
type guard struct {
	state  guardState
	lines  int   // complete lines of the head
	any    bool  // a part of the head has arrived
	line   int   // bytes of its current line so far
	size   int   // of the head so far
	cr     bool  // the last byte was a CR
	left   int64 // bytes left of a body of declared length
	chunks http1.Chunked
}

type guardState uint8

const (
	inHead guardState = iota
	inLength
	inChunks
	isLost
)

// inBody reports whether what comes next belongs to a body.
func (g *guard) inBody() bool { return g.state == inLength || g.state == inChunks }

// blank returns how many bytes of p are empty lines before a request, which are skipped
// (RFC 9112 section 2.2).
func (g *guard) blank(p []byte) (n int) {
	if g.any || g.state == isLost || g.inBody() {
		return 0
	}
	for n < len(p) {
		switch {
		case p[n] == '\n':
			n, g.cr = n+1, false
		case !g.cr && p[n] == '\r':
			n, g.cr = n+1, true
		default:
			return n
		}
	}
	return n
}

// pass returns how many bytes of p belong to a head, whether they include its end, and
// whether what follows them is acceptable. It is not for bodies.
func (g *guard) pass(p []byte) (n int, end, ok bool) {
	if g.state == isLost {
		return len(p), false, true
	}
	if !g.any && g.cr && len(p) > 0 {
		return 1, false, false // a CR without an LF came before the request
	}
	g.any = g.any || len(p) > 0
	for n < len(p) {
		length := bytes.IndexByte(p[n:], '\n')
		if length < 0 {
			g.add(p[n:])
			return len(p), false, true
		}
		g.add(p[n : n+length])
		if !g.cr {
			return n + length, false, false
		}
		n += length + 1
		empty := g.line == 1
		g.lines++
		g.size++ // the LF
		g.line, g.cr = 0, false
		if empty {
			g.any, g.size, g.lines = false, 0, 0
			return n, true, true
		}
	}
	return n, false, true
}

// inFirstLine reports whether the first line of a head has begun but not ended.
func (g *guard) inFirstLine() bool { return g.any && g.lines == 0 }

// add counts bytes of a line.
func (g *guard) add(p []byte) {
	if len(p) == 0 {
		return
	}
	g.line += len(p)
	g.cr = p[len(p)-1] == '\r'
	if g.size += len(p); g.size > MaxHead {
		g.state = isLost // fasthttp accepts no head as large as this
	}
}

// begin finds out how the body after a head ends.
func (g *guard) begin(h *Head) {
	lengths, codings := h.field(contentLength).count, h.field(transferEncoding).count
	switch {
	case lengths+codings > 1, lengths == 1 && !isLength(h.Value(contentLength)):
		g.state = isLost
	case codings == 1:
		g.state, g.chunks = inChunks, http1.NewChunked(clientChunks)
	default:
		if g.left = h.Length(); g.left > 0 {
			g.state = inLength
		}
	}
}

// next skips the framing of a body at the beginning of p: skip bytes. data is how many
// bytes of the body come next, available or not; 0 if more framing is needed to know.
// Errors: io.EOF at the end of the body, errMalformedWire.
func (g *guard) next(p []byte) (skip int, data int64, err error) {
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

// took records that n bytes of a body's data were taken.
func (g *guard) took(n int) {
	if g.state == inChunks {
		g.chunks.Took(n)
	} else if g.left -= int64(n); g.left == 0 {
		g.state = inHead
	}
}
