package envelope

import (
	"encoding/binary"
	"math/bits"

	"github.com/go-json-experiment/json/jsontext"
)

// A reader checks JSON (RFC 8259) without decoding it. It replaces jsontext's
// decoder because a body is mostly one long string, the prompt, which it skips in
// blocks. A fuzz test checks that the two agree, except about nesting beyond
// maxDepth and about UTF-8, which the caller validates first.
//
// Its methods return false at the first byte that is not allowed where it is, and
// leave at pointing to it, or to the end of the input.
type reader struct {
	b     []byte
	at    int // offset of the next byte
	depth int // open objects and arrays
}

// peek skips white space and returns the next byte, or 0 at the end.
func (r *reader) peek() byte {
	for ; r.at < len(r.b); r.at++ {
		if c := r.b[r.at]; c > ' ' || c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c
		}
	}
	return 0
}

// take skips white space and consumes c, which must not be NUL, if it comes next.
func (r *reader) take(c byte) bool {
	if r.peek() != c {
		return false
	}
	r.at++
	return true
}

// value skips a value and returns its kind, as jsontext does: '0' is any number.
// It recurses as deep as the value nests.
func (r *reader) value() (jsontext.Kind, bool) {
	switch c := r.peek(); c {
	case '"':
		return '"', r.text()
	case '{':
		return '{', r.object()
	case '[':
		return '[', r.array()
	case 't':
		return 't', r.literal("true")
	case 'f':
		return 'f', r.literal("false")
	case 'n':
		return 'n', r.literal("null")
	default:
		return '0', r.number()
	}
}

// open consumes the opening bracket that comes next, unless maxDepth are open.
func (r *reader) open() bool {
	if r.depth == maxDepth {
		return false
	}
	r.depth++
	r.at++
	return true
}

// close consumes the closing bracket c if it comes next.
func (r *reader) close(c byte) bool {
	if !r.take(c) {
		return false
	}
	r.depth--
	return true
}

// tooDeep reports whether the reader stopped at a bracket because maxDepth were
// open.
func (r *reader) tooDeep() bool {
	c := r.next()
	return r.depth == maxDepth && (c == '{' || c == '[')
}

func (r *reader) object() bool {
	if !r.open() {
		return false
	}
	if r.close('}') {
		return true
	}
	for {
		if r.peek() != '"' || !r.text() || !r.take(':') {
			return false
		}
		if _, ok := r.value(); !ok {
			return false
		}
		if !r.take(',') {
			return r.close('}')
		}
	}
}

func (r *reader) array() bool {
	_, _, ok := r.elements()
	return ok
}

// elements skips an array and counts its elements.
func (r *reader) elements() (numbers, others int, ok bool) {
	if !r.open() {
		return 0, 0, false
	}
	if r.close(']') {
		return 0, 0, true
	}
	for {
		kind, ok := r.value()
		if !ok {
			return 0, 0, false
		}
		if kind == '0' {
			numbers++
		} else {
			others++
		}
		if !r.take(',') {
			return numbers, others, r.close(']')
		}
	}
}

func (r *reader) literal(word string) bool {
	for i := range len(word) {
		if r.at == len(r.b) || r.b[r.at] != word[i] {
			return false
		}
		r.at++
	}
	return true
}

// number skips [ minus ] int [ frac ] [ exp ] (RFC 8259 section 6).
func (r *reader) number() bool {
	if r.next() == '-' {
		r.at++
	}
	if r.next() == '0' {
		r.at++
	} else if !r.digits() {
		return false
	}
	if r.next() == '.' {
		r.at++
		if !r.digits() {
			return false
		}
	}
	if r.next()|0x20 == 'e' {
		r.at++
		if c := r.next(); c == '+' || c == '-' {
			r.at++
		}
		return r.digits()
	}
	return true
}

// next returns the next byte, white space included, or 0 at the end.
func (r *reader) next() byte {
	if r.at < len(r.b) {
		return r.b[r.at]
	}
	return 0
}

// digits skips one or more digits.
func (r *reader) digits() bool {
	from := r.at
	for r.at < len(r.b) && r.b[r.at]-'0' <= 9 {
		r.at++
	}
	return r.at > from
}

// text skips a string (RFC 8259 section 7), whose opening quote comes next.
func (r *reader) text() bool {
	for r.at++; r.at < len(r.b); r.at++ {
		r.plain()
		switch c := r.next(); {
		case c == '"':
			r.at++
			return true
		case c == '\\':
			if r.at++; !r.escape() {
				return false
			}
		case c < ' ':
			return false // a control byte, or the end
		}
	}
	return false
}

// plain skips the ordinary bytes of a string and its two-byte escapes. It stops at
// the closing quote, a \u escape or a control byte, or when fewer than nine bytes
// of the body are left.
func (r *reader) plain() {
	b := r.b[r.at:]
	for len(b) > 8 {
		found := special(binary.LittleEndian.Uint64(b))
		if found == 0 {
			b = b[8:]
			if hasBlocks {
				b = b[passBlocks(b):]
			}
			continue
		}
		b = b[bits.TrailingZeros64(found)/8:]
		if b[0] != '\\' || !simpleEscape[b[1]] {
			break
		}
		b = b[2:]
	}
	r.at = len(r.b) - len(b)
}

// special sets the high bit of the first of eight bytes that is a quote, a
// backslash or a control byte. The bits of later bytes may be wrong, because of a
// borrow. For each byte below n, w-n has the high bit set where w has not (Bit
// Twiddling Hacks, "Determine if a word has a byte less than n"). With its second
// bit flipped, a byte is below '!' exactly if it is a quote or a control byte.
func special(w uint64) uint64 {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	return ((w ^ ones*2 - ones*'!') | (w ^ ones*'\\' - ones)) &^ w & highs
}

// simpleEscape holds the bytes that may follow a backslash, except 'u'.
var simpleEscape = [256]bool{'"': true, '\\': true, '/': true, 'b': true, 'f': true, 'n': true, 'r': true, 't': true}

// escape skips what follows a backslash, up to but not including its last byte.
func (r *reader) escape() bool {
	if r.next() != 'u' {
		return simpleEscape[r.next()]
	}
	for range 4 {
		r.at++
		if c := r.next(); c-'0' > 9 && c|0x20-'a' > 5 {
			return false
		}
	}
	return true
}
