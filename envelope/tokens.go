package envelope

import (
	"encoding/binary"
	"math/bits"
)

// tokens reads the tokens of JSON (RFC 8259 sections 2, 3, 6 and 7): everything
// that does not nest. Its methods return false at the first byte that is not
// allowed where it is, and leave at pointing to it, or to the end of the input.
type tokens struct {
	b  []byte
	at int // offset of the next byte
}

// peek skips white space and returns the next byte, or 0 at the end.
func (t *tokens) peek() byte {
	for ; t.at < len(t.b); t.at++ {
		if c := t.b[t.at]; c > ' ' || c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c
		}
	}
	return 0
}

// take skips white space and consumes c, which must not be NUL, if it comes next.
func (t *tokens) take(c byte) bool {
	if t.peek() != c {
		return false
	}
	t.at++
	return true
}

// next returns the next byte, white space included, or 0 at the end.
func (t *tokens) next() byte {
	if t.at < len(t.b) {
		return t.b[t.at]
	}
	return 0
}

// literal skips true, false or null, as word says.
func (t *tokens) literal(word string) bool {
	for i := range len(word) {
		if t.at == len(t.b) || t.b[t.at] != word[i] {
			return false
		}
		t.at++
	}
	return true
}

// number skips [ minus ] int [ frac ] [ exp ] (RFC 8259 section 6).
func (t *tokens) number() bool {
	if t.next() == '-' {
		t.at++
	}
	if t.next() == '0' {
		t.at++
	} else if !t.digits() {
		return false
	}
	if t.next() == '.' {
		t.at++
		if !t.digits() {
			return false
		}
	}
	if t.next()|0x20 == 'e' {
		t.at++
		if c := t.next(); c == '+' || c == '-' {
			t.at++
		}
		return t.digits()
	}
	return true
}

// digits skips one or more digits.
func (t *tokens) digits() bool {
	from := t.at
	for t.at < len(t.b) && t.b[t.at]-'0' <= 9 {
		t.at++
	}
	return t.at > from
}

// text skips a string (RFC 8259 section 7), whose opening quote comes next.
func (t *tokens) text() bool {
	for t.at++; t.at < len(t.b); t.at++ {
		t.plain()
		switch c := t.next(); {
		case c == '"':
			t.at++
			return true
		case c == '\\':
			if t.at++; !t.escape() {
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
func (t *tokens) plain() {
	b := t.b[t.at:]
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
	t.at = len(t.b) - len(b)
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
func (t *tokens) escape() bool {
	if t.next() != 'u' {
		return simpleEscape[t.next()]
	}
	for range 4 {
		t.at++
		if c := t.next(); c-'0' > 9 && c|0x20-'a' > 5 {
			return false
		}
	}
	return true
}
