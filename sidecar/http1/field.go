// Package http1 is what RFC 9112 and RFC 9110 allow in a message: lines, fields,
// lists and chunks, for the side of the clients and that of the model server.
// It reads bytes, from nowhere, and keeps none.
package http1

import "bytes"

// CutLine takes the first line off a block of them, without its end.
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

// SplitField cuts a header line into name and value, the value without the
// blanks around it. It is ok when the name is a token (RFC 9110 section 5.6.2),
// which a folded line's is not, and the value holds no byte that could end a
// line or a string somewhere (section 5.5).
func SplitField(line []byte) (name, value []byte, ok bool) {
	colon := bytes.IndexByte(line, ':')
	if colon < 1 {
		return nil, nil, false
	}
	name, value = line[:colon], TrimBlanks(line[colon+1:])
	for _, c := range name {
		if !tokenBytes[c] {
			return nil, nil, false
		}
	}
	return name, value, Printable(value)
}

// Printable tells whether text may stand in a head.
func Printable(text []byte) bool {
	for _, c := range text {
		if c == '\r' || c == '\n' || c == 0 {
			return false
		}
	}
	return true
}

// Visible tells whether every byte is visible ASCII, or beyond ASCII.
func Visible(text []byte) bool {
	for _, c := range text {
		if c <= ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

func TrimBlanks(b []byte) []byte {
	for len(b) > 0 && IsBlank(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && IsBlank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func IsBlank(c byte) bool { return c == ' ' || c == '\t' }

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

// HasElement tells whether a comma-separated list has an item, which is given in any
// case.
func HasElement(list, item []byte) bool {
	for len(list) > 0 {
		var part []byte
		part, list, _ = bytes.Cut(list, comma)
		if bytes.EqualFold(TrimBlanks(part), item) {
			return true
		}
	}
	return false
}

var comma = []byte(",")

// EqualFold compares with a lower-case ASCII name.
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

// HexValue is the value of a hexadecimal digit, -1 for another byte.
func HexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
