package upstream

import (
	"fmt"
	"io"
)

// Limits of what may surround the data of chunks.
const (
	maxChunkDigits   = 16       // of a chunk's size
	maxChunkLine     = 4 << 10  // of a size with its extensions
	maxChunkOverhead = 16 << 10 // of lines in all, beyond 16 bytes and twice the data for each chunk
)

// A chunkFraming takes the chunk framing (RFC 9112 section 7.1) off a body, a
// byte at a time, so that it does not matter how the bytes arrive. It is as
// strict as it can be: lines end in CR LF, sizes are plain hexadecimal, with
// blanks after them at most. Extensions and trailers are dropped, and bounded,
// and so is how little data may come in how much framing.
type chunkFraming struct {
	state     chunkState
	remaining int64 // of the chunk's data, once in inData
	digits    int
	line      int // bytes of this line
	overhead  int
	trailer   int // bytes that the trailer section may still have
}

type chunkState uint8

const (
	inSize chunkState = iota
	afterSize
	inExtension
	afterSizeCR
	inData
	afterData
	afterDataCR
	atTrailer // at the beginning of a line of the trailer section
	inTrailer
	afterTrailerCR
	afterLastCR
)

// skip looks at b up to the first byte of data and returns how many bytes before
// that there were. err is io.EOF after the last byte of the body.
func (f *chunkFraming) skip(b []byte) (n int, err error) {
	for i, c := range b {
		if f.state == inData {
			return i, nil
		}
		if err := f.step(c); err != nil {
			return i + 1, err
		}
	}
	return len(b), nil
}

// took tells that n bytes of data were taken.
func (f *chunkFraming) took(n int) {
	if f.remaining -= int64(n); f.remaining == 0 {
		f.state = afterData
	}
}

// step takes one byte that is not data.
func (f *chunkFraming) step(c byte) error {
	switch f.state {
	case inSize, afterSize, inExtension:
		return f.sizeLine(c)
	case afterSizeCR:
		if c == '\n' {
			return f.endSize()
		}
	case afterData:
		if c == '\r' {
			f.state = afterDataCR
			return nil
		}
	case afterDataCR:
		if c == '\n' {
			*f = chunkFraming{overhead: f.overhead, trailer: f.trailer}
			return nil
		}
	case atTrailer, inTrailer:
		return f.trailerLine(c)
	case afterTrailerCR:
		if c == '\n' {
			f.state = atTrailer
			return nil
		}
	case afterLastCR:
		if c == '\n' {
			return io.EOF
		}
	}
	return fmt.Errorf("%w: a malformed chunk", ErrBroken)
}

// sizeLine takes one byte of a line with a chunk's size.
func (f *chunkFraming) sizeLine(c byte) error {
	f.line++
	v := hexValue(c)
	switch {
	case f.line > maxChunkLine:
		return fmt.Errorf("%w: an overlong chunk extension", ErrBroken)
	case f.state == inSize && v >= 0:
		f.digits++
		if f.digits > maxChunkDigits || f.remaining >= 1<<59 {
			return fmt.Errorf("%w: an overlong chunk size", ErrBroken)
		}
		f.remaining = f.remaining<<4 | int64(v)
	case f.digits == 0 || c == '\n':
		return fmt.Errorf("%w: a malformed chunk size", ErrBroken)
	case c == '\r':
		f.state = afterSizeCR
	case f.state == inExtension:
	case c == ';':
		f.state = inExtension
	case isBlank(c):
		f.state = afterSize
	default:
		return fmt.Errorf("%w: a malformed chunk size", ErrBroken)
	}
	return nil
}

// endSize begins the data of a chunk, or the trailer section after the last one.
func (f *chunkFraming) endSize() error {
	if f.remaining == 0 {
		f.state = atTrailer
		return nil
	}
	f.overhead += f.line + 2 - 16
	f.overhead = max(f.overhead-int(2*min(f.remaining, maxChunkOverhead)), 0)
	if f.overhead > maxChunkOverhead {
		return fmt.Errorf("%w: hardly any data in its chunks", ErrBroken)
	}
	f.state = inData
	return nil
}

// trailerLine takes one byte of the trailer section.
func (f *chunkFraming) trailerLine(c byte) error {
	f.trailer--
	switch {
	case f.trailer < 0:
		return fmt.Errorf("%w: its trailer section is too large", ErrBroken)
	case c == '\n':
		return fmt.Errorf("%w: a malformed trailer", ErrBroken)
	case c == '\r' && f.state == atTrailer:
		f.state = afterLastCR
	case c == '\r':
		f.state = afterTrailerCR
	default:
		f.state = inTrailer
	}
	return nil
}
