package envelope

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// fewNames is the largest set that is searched linearly.
const fewNames = 24

// names is the set of member names seen in one object. The zero value is empty.
type names struct {
	few  [][]byte
	many map[string]struct{}
}

// add reports whether the name is new.
func (n *names) add(name []byte) bool {
	if n.many != nil {
		if _, ok := n.many[string(name)]; ok {
			return false
		}
		n.many[string(name)] = struct{}{}
		return true
	}
	for _, seen := range n.few {
		if bytes.Equal(seen, name) {
			return false
		}
	}
	n.few = append(n.few, name)
	if len(n.few) > fewNames {
		n.many = make(map[string]struct{}, 4*fewNames)
		for _, seen := range n.few {
			n.many[string(seen)] = struct{}{}
		}
	}
	return true
}

// reset empties the set, so that it no longer refers to the body.
func (n *names) reset() {
	clear(n.few)
	n.few, n.many = n.few[:0], nil
}

// unquoteName decodes a valid JSON string. A lone surrogate becomes three bytes of
// generalised UTF-8 (WTF-8), so that names that differ only in one stay different.
// Without an escape the result aliases raw.
func unquoteName(raw []byte) []byte {
	raw = raw[1 : len(raw)-1]
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw
	}
	name := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			name = append(name, raw[i])
			continue
		}
		i++
		switch raw[i] {
		case 'u':
			unit := hexUnit(raw[i+1:])
			i += 4
			if utf16.IsSurrogate(unit) && i+6 < len(raw) && raw[i+1] == '\\' && raw[i+2] == 'u' {
				if r := utf16.DecodeRune(unit, hexUnit(raw[i+3:])); r != utf8.RuneError {
					name = utf8.AppendRune(name, r)
					i += 6
					continue
				}
			}
			name = appendUnit(name, unit)
		case 'b':
			name = append(name, '\b')
		case 'f':
			name = append(name, '\f')
		case 'n':
			name = append(name, '\n')
		case 'r':
			name = append(name, '\r')
		case 't':
			name = append(name, '\t')
		default:
			name = append(name, raw[i])
		}
	}
	return name
}

// appendUnit appends a UTF-16 code unit. utf8.AppendRune would replace a surrogate
// with U+FFFD.
func appendUnit(dst []byte, unit rune) []byte {
	if utf16.IsSurrogate(unit) {
		return append(dst, byte(0xe0|unit>>12), byte(0x80|unit>>6&0x3f), byte(0x80|unit&0x3f))
	}
	return utf8.AppendRune(dst, unit)
}

// hexUnit decodes four hex digits.
func hexUnit(digits []byte) rune {
	var unit rune
	for _, c := range digits[:4] {
		unit <<= 4
		switch {
		case c <= '9':
			unit |= rune(c - '0')
		default:
			unit |= rune(c|0x20-'a') + 10
		}
	}
	return unit
}
