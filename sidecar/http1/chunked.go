package http1

import "io"

// Limits of the framing around the data of chunks.
const (
	maxChunkDigits   = 16       // of a chunk's size
	maxChunkLine     = 4 << 10  // bytes of a size with its extensions
	maxChunkOverhead = 16 << 10 // bytes of framing in all, beyond 16 bytes and twice the data for each chunk
)

// ChunkOptions are the differences between the two sides that read chunks.
type ChunkOptions struct {
	// BlanksAfterSize allows blanks after a size; some servers pad it to a fixed width.
	BlanksAfterSize bool
	// CheckTrailers rejects trailer lines that are not fields, or that are framing
	// fields. Otherwise they need only end in CR LF.
	CheckTrailers bool
	// MaxTrailer bounds the trailer section, in bytes.
	MaxTrailer int32
}

// A ChunkError says what is wrong with chunks.
type ChunkError string

func (e ChunkError) Error() string { return string(e) }

const (
	errChunk          = ChunkError("a malformed chunk")
	errChunkSize      = ChunkError("a malformed chunk size")
	errLongChunkSize  = ChunkError("an overlong chunk size")
	errExtension      = ChunkError("a malformed chunk extension")
	errLongExtension  = ChunkError("an overlong chunk extension")
	errHardlyAnyData  = ChunkError("hardly any data in its chunks")
	errTrailer        = ChunkError("a malformed trailer")
	errFramingTrailer = ChunkError("a trailer that frames the body")
	errLongTrailers   = ChunkError("its trailer section is too large")
)

// Chunked removes the chunk framing (RFC 9112 section 7.1) from one body, a byte at
// a time except for the data, so that it does not matter how the bytes arrive. It
// is strict: lines end in CR LF, sizes are plain hexadecimal. Extensions and
// trailers are dropped and bounded, as is the ratio of framing to data. Make it
// with NewChunked. It is small, because every connection has one.
type Chunked struct {
	options  ChunkOptions
	left     int64 // in inData, bytes left of the chunk; before, its size as read so far
	line     int32 // bytes read of this size line
	overhead int32
	trailer  int32 // bytes read of the trailer section
	state    chunkState
	digits   uint8
	name     trailerName
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

// NewChunked returns a decoder at the start of a body.
func NewChunked(options ChunkOptions) Chunked { return Chunked{options: options} }

// Skip returns how many bytes of b come before the first byte of data. Errors:
// io.EOF after the last byte of the body, or a ChunkError at the wrong byte, which
// is not counted.
func (d *Chunked) Skip(b []byte) (n int, err error) {
	if d.state == afterData && len(b) >= 2 && b[0] == '\r' && b[1] == '\n' {
		d.nextChunk() // nearly every Skip begins with this, so it is one step
		n = 2
	}
	for n < len(b) && d.state != inData {
		if err := d.step(b[n]); err == io.EOF {
			return n + 1, err
		} else if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// Data returns how many bytes of data come next, available or not; 0 if more
// framing is needed to know.
func (d *Chunked) Data() int64 {
	if d.state != inData {
		return 0
	}
	return d.left
}

// Took records that n bytes of data were taken, at most Data.
func (d *Chunked) Took(n int) {
	if d.left -= int64(n); d.left == 0 {
		d.state = afterData
	}
}

func (d *Chunked) nextChunk() { d.state, d.digits, d.line = inSize, 0, 0 }

// step takes one byte of framing.
func (d *Chunked) step(c byte) error {
	switch d.state {
	case inSize, afterSize, inExtension:
		return d.sizeLine(c)
	case afterSizeCR:
		if c == '\n' {
			return d.endSize()
		}
	case afterData:
		if c == '\r' {
			d.state = afterDataCR
			return nil
		}
	case afterDataCR:
		if c == '\n' {
			d.nextChunk()
			return nil
		}
	case atTrailer, inTrailer:
		return d.trailerLine(c)
	case afterTrailerCR:
		if c == '\n' {
			d.state = atTrailer
			return nil
		}
	case afterLastCR:
		if c == '\n' {
			return io.EOF
		}
	}
	return errChunk
}

// sizeLine takes one byte of a line with a chunk's size.
func (d *Chunked) sizeLine(c byte) error {
	d.line++
	v := HexValue(c)
	switch {
	case d.line > maxChunkLine:
		return errLongExtension
	case d.state == inSize && v >= 0:
		d.digits++
		if d.digits > maxChunkDigits || d.left >= 1<<59 {
			return errLongChunkSize
		}
		d.left = d.left<<4 | int64(v)
	case d.digits == 0:
		return errChunkSize
	case c == '\r':
		d.state = afterSizeCR
	case d.state == inExtension:
		if !IsText(c) {
			return errExtension
		}
	case c == ';':
		d.state = inExtension
	case IsBlank(c) && d.options.BlanksAfterSize:
		d.state = afterSize
	default:
		return errChunkSize
	}
	return nil
}

// endSize begins the data of a chunk, or the trailer section after the last one.
func (d *Chunked) endSize() error {
	if d.left == 0 {
		d.state = atTrailer
		return nil
	}
	// d.line includes the CR; the LF, and the CR LF after the data, are three more bytes.
	d.overhead += d.line + 3 - 16
	d.overhead = max(d.overhead-int32(2*min(d.left, maxChunkOverhead)), 0)
	if d.overhead > maxChunkOverhead {
		return errHardlyAnyData
	}
	d.state = inData
	return nil
}

// trailerLine takes one byte of the trailer section.
func (d *Chunked) trailerLine(c byte) error {
	begins := d.state == atTrailer
	d.trailer++
	switch {
	case d.trailer > d.options.MaxTrailer:
		return errLongTrailers
	case c == '\n':
		return errTrailer
	case c == '\r' && begins:
		d.state = afterLastCR
		return nil
	case c == '\r':
		d.state = afterTrailerCR
	default:
		d.state = inTrailer
	}
	if d.options.CheckTrailers {
		return d.name.step(c, begins)
	}
	return nil
}

// A trailerName reads the lines of a trailer section and finds framing fields, which must
// not appear there (RFC 9110 section 6.5.1).
type trailerName struct {
	text   [len("transfer-encoding")]byte // the name as read so far
	length uint8                          // of the name; len(text)+1 if it is longer
	ended  bool                           // the colon was read
}

// step takes one byte of a line that is not empty, including its CR.
func (n *trailerName) step(c byte, begins bool) error {
	if begins {
		n.length, n.ended = 0, false
	}
	switch {
	case n.ended:
		if c != '\r' && !IsText(c) {
			return errTrailer
		}
	case c == ':' && n.length > 0:
		n.ended = true
		if n.frames() {
			return errFramingTrailer
		}
	case !tokenBytes[c]:
		return errTrailer
	case int(n.length) < len(n.text):
		n.text[n.length] = c
		n.length++
	default:
		n.length = uint8(len(n.text)) + 1
	}
	return nil
}

// frames reports whether the name is that of a framing field.
func (n *trailerName) frames() bool {
	if int(n.length) > len(n.text) {
		return false
	}
	text := n.text[:n.length]
	return EqualFold(text, "content-length") || EqualFold(text, "transfer-encoding")
}
