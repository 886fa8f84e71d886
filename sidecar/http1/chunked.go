package http1

import "io"

// Limits of what may surround the data of chunks.
const (
	maxChunkDigits   = 16       // of a chunk's size
	maxChunkLine     = 4 << 10  // of a size with its extensions
	maxChunkOverhead = 16 << 10 // of lines in all, beyond 16 bytes and twice the data for each chunk
)

// A ChunkError is what is wrong with the framing of a body.
type ChunkError string

func (e ChunkError) Error() string { return string(e) }

// A Chunked takes the chunk framing (RFC 9112 section 7.1) off a body, a
// byte at a time, so that it does not matter how the bytes arrive. It is as
// strict as it can be: lines end in CR LF, sizes are plain hexadecimal, with
// blanks after them at most. Extensions and trailers are dropped, and bounded,
// and so is how little data may come in how much framing.
type Chunked struct {
	state     chunkState
	remaining int64 // of the chunk's data, once in inData
	digits    int
	line      int // bytes of this line
	overhead  int
	trailer   int // bytes that the trailer section may still have
}

// NewChunked begins a body whose trailer section may have maxTrailer bytes.
func NewChunked(maxTrailer int) Chunked { return Chunked{trailer: maxTrailer} }

// Data is how many bytes of data come next, here or not; 0 where more framing
// has to tell.
func (f *Chunked) Data() int64 {
	if f.state != inData {
		return 0
	}
	return f.remaining
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

// Skip looks at b up to the first byte of data and returns how many bytes before
// that there were. err is io.EOF after the last byte of the body.
func (f *Chunked) Skip(b []byte) (n int, err error) {
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

// Took tells that n bytes of data were taken.
func (f *Chunked) Took(n int) {
	if f.remaining -= int64(n); f.remaining == 0 {
		f.state = afterData
	}
}

// step takes one byte that is not data.
func (f *Chunked) step(c byte) error {
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
			*f = Chunked{overhead: f.overhead, trailer: f.trailer}
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
	return ChunkError("a malformed chunk")
}

// sizeLine takes one byte of a line with a chunk's size.
func (f *Chunked) sizeLine(c byte) error {
	f.line++
	v := HexValue(c)
	switch {
	case f.line > maxChunkLine:
		return ChunkError("an overlong chunk extension")
	case f.state == inSize && v >= 0:
		f.digits++
		if f.digits > maxChunkDigits || f.remaining >= 1<<59 {
			return ChunkError("an overlong chunk size")
		}
		f.remaining = f.remaining<<4 | int64(v)
	case f.digits == 0 || c == '\n':
		return ChunkError("a malformed chunk size")
	case c == '\r':
		f.state = afterSizeCR
	case f.state == inExtension:
	case c == ';':
		f.state = inExtension
	case IsBlank(c):
		f.state = afterSize
	default:
		return ChunkError("a malformed chunk size")
	}
	return nil
}

// endSize begins the data of a chunk, or the trailer section after the last one.
func (f *Chunked) endSize() error {
	if f.remaining == 0 {
		f.state = atTrailer
		return nil
	}
	f.overhead += f.line + 2 - 16
	f.overhead = max(f.overhead-int(2*min(f.remaining, maxChunkOverhead)), 0)
	if f.overhead > maxChunkOverhead {
		return ChunkError("hardly any data in its chunks")
	}
	f.state = inData
	return nil
}

// trailerLine takes one byte of the trailer section.
func (f *Chunked) trailerLine(c byte) error {
	f.trailer--
	switch {
	case f.trailer < 0:
		return ChunkError("its trailer section is too large")
	case c == '\n':
		return ChunkError("a malformed trailer")
	case c == '\r' && f.state == atTrailer:
		f.state = afterLastCR
	case c == '\r':
		f.state = afterTrailerCR
	default:
		f.state = inTrailer
	}
	return nil
}
