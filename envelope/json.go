package envelope

import (
	"encoding/binary"
	"math/bits"

	"github.com/go-json-experiment/json/jsontext"
)

// A reader checks JSON (RFC 8259) without decoding it. It replaces jsontext's
// decoder because a body is mostly one long string, the prompt, which it skips in
// blocks. A fuzz test keeps the two in agreement, except for nesting above
// maxDepth and for UTF-8, which the caller checks first.
//
// Its methods return false at the first byte that cannot stand where it does;
// at is that byte's offset, or the end's.
type reader struct {
	b     []byte
	at    int // what comes next
	depth int // objects and arrays that are open
}

// peek is the next byte that is not white space, 0 at the end.
func (r *reader) peek() byte {
	for ; r.at < len(r.b); r.at++ {
		if c := r.b[r.at]; c > ' ' || c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c
		}
	}
	return 0
}

// take takes the next byte that is not white space, which must be c, not NUL.
func (r *reader) take(c byte) bool {
	if r.peek() != c {
		return false
	}
	r.at++
	return true
}

// value passes over a value and says what it is, as jsontext does: '0' is any
// number. It recurses as deep as the value nests.
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

// open takes the bracket that comes next, unless too many are open.
func (r *reader) open() bool {
	if r.depth == maxDepth {
		return false
	}
	r.depth++
	r.at++
	return true
}

// close takes the bracket c, if it is next.
func (r *reader) close(c byte) bool {
	if !r.take(c) {
		return false
	}
	r.depth--
	return true
}

// tooDeep reports whether a bracket could not be taken for the number of open ones.
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

// elements passes over an array and counts what is in it.
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

// number is [ minus ] int [ frac ] [ exp ] (RFC 8259 section 6).
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

// next is the next byte, 0 at the end.
func (r *reader) next() byte {
	if r.at < len(r.b) {
		return r.b[r.at]
	}
	return 0
}

// digits takes one digit or more.
func (r *reader) digits() bool {
	from := r.at
	for r.at < len(r.b) && r.b[r.at]-'0' <= 9 {
		r.at++
	}
	return r.at > from
}

// text passes over a string (RFC 8259 section 7), whose quote comes next.
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

// plain passes over bytes of a string that need no look, and escapes of two
// bytes, up to its end, any other escape or a control byte, or less than nine
// bytes from the body's end.
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

// special has the high bit set of the first of eight bytes that is a quote, a
// backslash or a control byte; those of bytes behind it may be wrong, by a
// borrow. A byte less than n has it set in w-n where w has not (Bit Twiddling
// Hacks, "determine if a word has a byte less than n"). With the second bit
// turned over, a quote and the control bytes are what is less than '!'.
func special(w uint64) uint64 {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	return ((w ^ ones*2 - ones*'!') | (w ^ ones*'\\' - ones)) &^ w & highs
}

// simpleEscape has what may follow a backslash, but for 'u'.
var simpleEscape = [256]bool{'"': true, '\\': true, '/': true, 'b': true, 'f': true, 'n': true, 'r': true, 't': true}

// escape takes what follows a backslash, but for its last byte.
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
