package upstream

import "bytes"

// cutLine takes the first line off a block of them, without its end.
func cutLine(block []byte) (line, rest []byte) {
	line = block
	if end := bytes.IndexByte(block, '\n'); end >= 0 {
		line, rest = block[:end], block[end+1:]
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line, rest
}

// splitField cuts a header line into name and value, the value without the
// blanks around it. It is ok when the name is a token (RFC 9110 section 5.6.2),
// which a folded line's is not, and the value holds no byte that could end a
// line or a string somewhere (section 5.5).
func splitField(line []byte) (name, value []byte, ok bool) {
	colon := bytes.IndexByte(line, ':')
	if colon < 1 {
		return nil, nil, false
	}
	name, value = line[:colon], trimBlanks(line[colon+1:])
	for _, c := range name {
		if !tokenBytes[c] {
			return nil, nil, false
		}
	}
	return name, value, printable(value)
}

// printable tells whether text may stand in a head.
func printable(text []byte) bool {
	for _, c := range text {
		if c == '\r' || c == '\n' || c == 0 {
			return false
		}
	}
	return true
}

// visible tells whether every byte is visible ASCII, or beyond ASCII.
func visible(text []byte) bool {
	for _, c := range text {
		if c <= ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

func trimBlanks(b []byte) []byte {
	for len(b) > 0 && isBlank(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isBlank(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

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

// isHopByHop tells which fields end at this hop whatever Connection says (RFC
// 9110 section 7.6.1), and those that frame a message or authenticate at a
// proxy. Proxy-Status (RFC 9209) is for the reader at the end, and not one.
func isHopByHop(name []byte) bool {
	switch name[0] | 0x20 {
	case 'c':
		return is(name, "connection")
	case 'k':
		return is(name, "keep-alive")
	case 'p':
		return len(name) > 6 && is(name[:6], "proxy-") && !is(name, "proxy-status")
	case 't':
		return is(name, "te") || is(name, "trailer") || is(name, "transfer-encoding")
	case 'u':
		return is(name, "upgrade")
	case 'h':
		return is(name, "http2-settings")
	}
	return false
}

// isOurs tells which of a client's fields are written anew, or are not for the
// model server: Authorization holds the customer's key for the autoscaler.
func isOurs(name []byte) bool {
	switch name[0] | 0x20 {
	case 'a':
		return is(name, "authorization")
	case 'c':
		return is(name, "content-length")
	case 'e':
		return is(name, "expect")
	case 'h':
		return is(name, "host")
	case 'x':
		return is(name, "x-request-id")
	}
	return false
}

// has tells whether a comma-separated list has an item, which is given in any
// case.
func has(list, item []byte) bool {
	for len(list) > 0 {
		var part []byte
		part, list, _ = bytes.Cut(list, comma)
		if bytes.EqualFold(trimBlanks(part), item) {
			return true
		}
	}
	return false
}

var comma = []byte(",")

// is compares with a lower-case ASCII name.
func is(b []byte, lower string) bool {
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
