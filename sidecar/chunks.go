package sidecar

import "bytes"

// Limits of what may surround the data of a chunked request body.
const (
	maxChunkDigits   = 15
	maxChunkLine     = 4 << 10  // of a size with its extensions
	maxChunkOverhead = 16 << 10 // of lines in all, beyond 16 bytes and twice the data for each chunk
	maxTrailer       = 8 << 10
)

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
	name     [len("transfer-encoding")]byte
	length   int // of the name, of which longer ones are cut
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

// skip returns how many bytes of p there are before data, whether the body has
// ended with them, and whether what follows is acceptable.
func (g *chunkGuard) skip(p []byte) (n int, end, ok bool) {
	for n < len(p) && g.state != inData {
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

// took tells that n bytes of data were taken.
func (g *chunkGuard) took(n int) {
	if g.left -= int64(n); g.left == 0 {
		g.state = afterData
	}
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
		g.digits++
		g.left = g.left<<4 | int64(digit)
		return g.digits <= maxChunkDigits
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
		g.state, g.named, g.length = inTrailer, false, 0
	case g.named:
		return c >= ' ' && c != 0x7f || c == '\t'
	case c == ':':
		g.named = true
		return !g.namesFraming()
	}
	if g.length < len(g.name) {
		g.name[g.length] = c
	}
	g.length++
	return isToken([]byte{c})
}

// namesFraming tells whether a trailer field is one that frames a body, which
// nothing may come to know only there (RFC 9110 section 6.5.1).
func (g *chunkGuard) namesFraming() bool {
	name := g.name[:min(g.length, len(g.name))]
	return g.length <= len(g.name) && (equalFold(name, "content-length") || equalFold(name, "transfer-encoding"))
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
