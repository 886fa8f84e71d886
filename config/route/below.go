package route

import (
	"bytes"
	"unicode/utf8"
)

// isBelow reports whether a path may be served by a wildcard: rest is what came
// after the wildcard's own path. A model server that normalises paths must read the
// same path as Usher, whatever it decodes, folds or cleans up. Otherwise a path
// could escape the wildcard, or lead to another path with other work. So rest must
// have only one spelling, and is refused if it holds
//   - an empty segment, or one that is a dot or two, with or without what some
//     servers cut off (parameters after a semicolon);
//   - a backslash, or a percent sign without two hex digits;
//   - percent-encoded, however often: a slash, a backslash, a control byte, or what
//     never needs it (RFC 3986 section 2.3: letters, digits and "-._~");
//   - bytes that do not decode to UTF-8, as overlong forms do not.
func isBelow(rest []byte) bool {
	for from := 0; ; {
		to := from
		for to < len(rest) && rest[to] != '/' {
			to++
		}
		if !isSegment(rest[from:to]) {
			return false
		}
		if to == len(rest) {
			return true
		}
		from = to + 1
	}
}

// isSegment reports whether one segment is acceptable.
func isSegment(s []byte) bool {
	var few [64]byte
	decoded, encoded := few[:0], false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\':
			return false
		case c == '%':
			encoded = true
			at := i + 1
			for at+1 < len(s) && s[at] == '2' && s[at+1] == '5' && at+3 < len(s) && isHex(s[at+2]) && isHex(s[at+3]) {
				at += 2 // a percent sign that is encoded itself, and may be decoded twice
			}
			if at+1 >= len(s) || !isHex(s[at]) || !isHex(s[at+1]) {
				return false
			}
			if c = unhex(s[at])<<4 | unhex(s[at+1]); !needsEncoding(c) {
				return false
			}
			i = at + 1
		}
		decoded = append(decoded, c)
	}
	switch name(decoded) {
	case "", ".", "..":
		return false
	}
	return !encoded || utf8.Valid(decoded)
}

// name returns a decoded segment without what some servers cut off.
func name(segment []byte) string {
	if i := bytes.IndexAny(segment, ";?#"); i >= 0 {
		segment = segment[:i]
	}
	return string(segment)
}

// needsEncoding reports whether a byte may be percent-encoded.
func needsEncoding(c byte) bool {
	switch {
	case c < ' ', c == 0x7f, c == '/', c == '\\':
		return false
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
		return false
	}
	return true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
