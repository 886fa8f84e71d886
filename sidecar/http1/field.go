// Package http1 parses lines, fields, lists and chunks as RFC 9112 and RFC 9110 allow
// them, for both the client's and the model server's side. It does no I/O.
package http1

import (
	"bytes"
	"math"
)

// CutLine cuts the first line off a block, without its line end, which is CR LF or a bare
// LF.
func CutLine(block []byte) (line, rest []byte) {
	line = block
	if end := bytes.IndexByte(block, '\n'); end >= 0 {
		line, rest = block[:end], block[end+1:]
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line, rest
}

// SplitField splits a field line into name and value, without the blanks around the
// value. It is ok if the name is a token, which rules out folded lines, and the value is
// Printable.
func SplitField(line []byte) (name, value []byte, ok bool) {
	colon := bytes.IndexByte(line, ':')
	if colon < 1 {
		return nil, nil, false
	}
	name, value = line[:colon], TrimBlanks(line[colon+1:])
	return name, value, IsToken(name) && Printable(value)
}

// Printable reports whether text may appear in a head: it has no byte that could end a
// line or a string (RFC 9110 section 5.5).
func Printable(text []byte) bool {
	for _, c := range text {
		if c == '\r' || c == '\n' || c == 0 {
			return false
		}
	}
	return true
}

// Visible reports whether every byte is visible ASCII, or beyond ASCII.
func Visible(text []byte) bool {
	for _, c := range text {
		if c <= ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

// IsToken reports whether text is a token (RFC 9110 section 5.6.2).
func IsToken(text []byte) bool {
	for _, c := range text {
		if !tokenBytes[c] {
			return false
		}
	}
	return len(text) > 0
}

var tokenBytes = func() (t [256]bool) {
	for c := range t {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		t[c] = letter && c < 0x80 || '0' <= c && c <= '9'
	}
	for _, c := range []byte("!#$%&'*+-.^_`|~") {
		t[c] = true
	}
	return t
}()

// IsText reports whether c may appear in a field's value (RFC 9110 section 5.5): a
// visible byte, one beyond ASCII, or a blank.
func IsText(c byte) bool { return c >= ' ' && c != 0x7f || c == '\t' }

// IsBlank reports whether c is a space or a tab, the bytes of optional whitespace.
func IsBlank(c byte) bool { return c == ' ' || c == '\t' }

// TrimBlanks removes the blanks from both ends.
func TrimBlanks(b []byte) []byte {
	for len(b) > 0 && IsBlank(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && IsBlank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// Lower returns c in lower case if it is an ASCII letter.
func Lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// EqualFold compares b, in any case, with a name in lower-case ASCII.
func EqualFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// HasPrefixFold reports whether b begins, in any case, with a prefix in lower-case ASCII.
func HasPrefixFold(b []byte, lower string) bool {
	return len(b) >= len(lower) && EqualFold(b[:len(lower)], lower)
}

// ParseLength parses a Content-Length (RFC 9110 section 8.6): decimal digits and
// nothing else. It is not ok if the value exceeds an int64.
func ParseLength(value []byte) (n int64, ok bool) {
	for _, c := range value {
		if c < '0' || c > '9' || n > (math.MaxInt64-9)/10 {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, len(value) > 0
}

// HexValue returns the value of a hexadecimal digit, -1 for any other byte.
func HexValue(c byte) int { return int(hexValues[c]) }

var hexValues = func() (t [256]int8) {
	for c := range t {
		t[c] = -1
	}
	for v, c := range []byte("0123456789abcdef") {
		t[c] = int8(v)
	}
	for v, c := range []byte("ABCDEF") {
		t[c] = int8(10 + v)
	}
	return t
}()
