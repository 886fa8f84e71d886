package sidecar

import (
	"bytes"
	"errors"
)

// errMalformedWire is what fasthttp gets instead of bytes that are no HTTP/1.1.
var errMalformedWire = errors.New("request is malformed on the wire")

// Limits of what may surround the data of a chunked request body.
const (
	maxChunkDigits   = 15
	maxChunkLine     = 4 << 10  // of a size with its extensions
	maxChunkOverhead = 16 << 10 // of lines in all, beyond 16 bytes and twice the data for each chunk
	maxTrailer       = 8 << 10
)

// A wireGuard follows the requests of one connection as they come off the wire,
// ahead of fasthttp, and stops what is malformed there before fasthttp sees it.
// It looks at what fasthttp does not keep: the ends of the lines of a head, the
// request line's too, and the framing of a chunked body.
//
// Let through by fasthttp and stopped here: lines that end in a bare LF, blanks
// after a chunk's size, chunk extensions of any length and with any byte,
// hardly any data in very much framing, and in trailer sections bare LF, folded
// lines and names that are no tokens.
//
// Where a head frames its body in two ways the guard is lost, and passes
// everything: checkFraming refuses such a head, and nothing behind it is read.
// The zero value is ready.
type wireGuard struct {
	state  guardState
	head   []byte // of a head that comes in several pieces, what came before
	left   int64  // in a body of declared length
	chunks chunkGuard
}

type guardState uint8

const (
	inHead guardState = iota
	inLength
	inChunks
	isLost
)

// pass returns how many bytes of p are acceptable; fewer than all of them when
// what follows is not.
func (g *wireGuard) pass(p []byte) (n int) {
	for n < len(p) {
		rest := p[n:]
		switch g.state {
		case inHead:
			m, ok := g.passHead(rest)
			n += m
			if !ok {
				return n
			}
		case inLength:
			m := min(g.left, int64(len(rest)))
			n += int(m)
			if g.left -= m; g.left == 0 {
				g.state = inHead
			}
		case inChunks:
			m, end, ok := g.chunks.pass(rest)
			n += m
			if !ok {
				return n
			}
			if end {
				g.state = inHead
			}
		case isLost:
			return len(p)
		}
	}
	return n
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
	switch {
	case f.contentLength+f.transferEncoding > 1, f.contentLength == 1 && !isDigits(f.length):
		g.state = isLost
	case f.transferEncoding == 1:
		g.state, g.chunks = inChunks, chunkGuard{}
	case f.contentLength == 1:
		for _, c := range f.length {
			g.left = 10*g.left + int64(c-'0')
		}
		if g.left > 0 {
			g.state = inLength
		}
	}
}

// A chunkGuard follows one chunked body (RFC 9112 section 7.1), a byte at a
// time but for the data.
type chunkGuard struct {
	state    chunkState
	left     int64 // of the chunk's data
	digits   int
	line     int // bytes of this line
	overhead int
	trailer  int
	named    bool // the name of the trailer field has ended
}

type chunkState uint8

const (
	inSize chunkState = iota
	inExtension
	afterSize // and its CR; so on below
	inData
	afterData
	afterDataCR
	atTrailer
	inTrailer
	afterTrailerCR
	afterLastCR
)

// pass returns how many bytes of p are acceptable, whether the body has ended
// with them, and whether what follows is acceptable too.
func (g *chunkGuard) pass(p []byte) (n int, end, ok bool) {
	for n < len(p) {
		if g.state == inData {
			m := min(g.left, int64(len(p)-n))
			n += int(m)
			if g.left -= m; g.left == 0 {
				g.state = afterData
			}
			continue
		}
		if !g.step(p[n]) {
			return n, false, false
		}
		n++
		if g.state == afterLastCR && p[n-1] == '\n' {
			return n, true, true
		}
	}
	return n, false, true
}

// step takes one byte that is not data.
func (g *chunkGuard) step(c byte) bool {
	switch g.state {
	case inSize, inExtension:
		return g.size(c)
	case afterSize:
		return c == '\n' && g.data()
	case afterData:
		g.state = afterDataCR
		return c == '\r'
	case afterDataCR:
		*g = chunkGuard{overhead: g.overhead}
		return c == '\n'
	case atTrailer, inTrailer:
		return g.field(c)
	case afterTrailerCR:
		g.state = atTrailer
		return c == '\n'
	case afterLastCR:
		return c == '\n'
	}
	return false
}

// size takes one byte of the line with a chunk's size.
func (g *chunkGuard) size(c byte) bool {
	if g.line++; g.line > maxChunkLine {
		return false
	}
	digit := bytes.IndexByte([]byte("0123456789abcdef"), lower(c))
	switch {
	case g.state == inSize && digit >= 0:
		// Zeros before a number are part of the grammar.
		if g.left > 0 {
			g.digits++
		}
		g.left = g.left<<4 | int64(digit)
		return g.digits < maxChunkDigits
	case g.line == 1:
		return false
	case c == '\r':
		g.state = afterSize
		return true
	case g.state == inSize:
		g.state = inExtension
		return c == ';'
	}
	return c >= ' ' && c != 0x7f || c == '\t'
}

// data begins the data of a chunk, or the trailer section after the last one.
func (g *chunkGuard) data() bool {
	if g.left == 0 {
		g.state = atTrailer
		return true
	}
	g.overhead += g.line + 4 - 16
	g.overhead = max(g.overhead-int(2*min(g.left, maxChunkOverhead)), 0)
	g.state = inData
	return g.overhead <= maxChunkOverhead
}

// field takes one byte of a line of the trailer section.
func (g *chunkGuard) field(c byte) bool {
	if g.trailer++; g.trailer > maxTrailer {
		return false
	}
	begins := g.state == atTrailer
	switch {
	case c == '\r' && begins:
		g.state = afterLastCR
		return true
	case c == '\r':
		g.state = afterTrailerCR
		return g.named
	case begins:
		g.state, g.named = inTrailer, false
		return isToken([]byte{c})
	case g.named:
		return c >= ' ' && c != 0x7f || c == '\t'
	case c == ':':
		g.named = true
		return true
	}
	return isToken([]byte{c})
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
