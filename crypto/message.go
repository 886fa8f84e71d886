// Package crypto decides whether a ticket is genuine: it rebuilds the message that the
// autoscaler signed, byte for byte as Python's json module prints it, and verifies the
// signature with the accepted public keys.
package crypto

import (
	"strconv"
	"unicode/utf8"
)

// A Field is a member of a ticket that can be signed.
type Field uint8

// The fields.
const (
	FieldCost Field = iota
	FieldEndpoint
	FieldReqnum
	FieldRequestIdx
	FieldURL
	fieldCount
)

var fieldNames = [fieldCount]string{"cost", "endpoint", "reqnum", "request_idx", "url"}

// String returns the member's name in JSON.
func (f Field) String() string {
	if f < fieldCount {
		return fieldNames[f]
	}
	return "unknown"
}

// A Message holds the values of a ticket that may be signed.
type Message struct {
	Cost       Cost
	Endpoint   string // valid UTF-8
	Reqnum     int64  // 0 … 2^63-1; -1: absent
	RequestIdx string // an integer literal of JSON; "": absent
	URL        string // valid UTF-8
}

// has reports whether the ticket carries a field.
func (m *Message) has(f Field) bool {
	switch f {
	case FieldReqnum:
		return m.Reqnum >= 0
	case FieldRequestIdx:
		return m.RequestIdx != ""
	default:
		return true
	}
}

// A layout is how Python's json.dumps separates what it prints, which depends on its
// arguments.
type layout struct {
	open, comma, colon, end string
	name                    string // for Explain
}

// indented is the layout that autoscalers sign: json.dumps(…, indent=4).
var indented = layout{"{\n    ", ",\n    ", ": ", "\n}", "indent=4"}

// appendMessage appends the canonical message over the fields, in their order,
// with one spelling of the cost.
func appendMessage(dst []byte, l *layout, fields []Field, m *Message, cost string) []byte {
	dst = append(dst, l.open...)
	for i, f := range fields {
		if i > 0 {
			dst = append(dst, l.comma...)
		}
		dst = append(dst, '"')
		dst = append(dst, f.String()...)
		dst = append(dst, '"')
		dst = append(dst, l.colon...)
		switch f {
		case FieldCost:
			dst = append(dst, cost...)
		case FieldEndpoint:
			dst = appendString(dst, m.Endpoint)
		case FieldReqnum:
			dst = strconv.AppendInt(dst, m.Reqnum, 10)
		case FieldRequestIdx:
			dst = append(dst, m.RequestIdx...)
		case FieldURL:
			dst = appendString(dst, m.URL)
		}
	}
	return append(dst, l.end...)
}

const hexDigits = "0123456789abcdef"

// appendString writes s as json.dumps does with ensure_ascii: everything outside
// 0x20 … 0x7e escaped, lower-case hex, surrogate pairs above the basic plane.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			i += size
			if r >= 0x10000 {
				r -= 0x10000
				dst = appendUnit(dst, 0xd800+r>>10)
				r = 0xdc00 + r&0x3ff
			}
			dst = appendUnit(dst, r)
			continue
		}
		i++
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\b':
			dst = append(dst, '\\', 'b')
		default:
			if c < ' ' || c == 0x7f {
				dst = appendUnit(dst, rune(c))
			} else {
				dst = append(dst, c)
			}
		}
	}
	return append(dst, '"')
}

// appendUnit writes one UTF-16 code unit.
func appendUnit(dst []byte, u rune) []byte {
	return append(dst, '\\', 'u', hexDigits[u>>12&15], hexDigits[u>>8&15], hexDigits[u>>4&15], hexDigits[u&15])
}
