package autoscaler

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
)

// Float formats a cost like Python's repr of a float: 256.0, 1e-05, 1e+16.
func Float(cost float64) string {
	exponent := 0
	if cost != 0 {
		// The exponent of the shortest digits counts, not that of the value:
		// 9.9999999999999999e15 is written 1e+16.
		e := strconv.FormatFloat(cost, 'e', -1, 64)
		exponent, _ = strconv.Atoi(e[strings.IndexByte(e, 'e')+1:])
	}
	if exponent < -4 || exponent >= 16 {
		return strconv.FormatFloat(cost, 'e', -1, 64)
	}
	s := strconv.FormatFloat(cost, 'f', -1, 64)
	if !strings.Contains(s, ".") && !math.IsInf(cost, 0) && !math.IsNaN(cost) {
		s += ".0"
	}
	return s
}

// Int formats a cost as an integer: 256.
func Int(cost int64) string { return strconv.FormatInt(cost, 10) }

// quote writes a string as Python's json.dumps does, in ASCII only.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\f':
			b.WriteString(`\f`)
		case r == '\b':
			b.WriteString(`\b`)
		case r >= ' ' && r <= '~':
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// A member is a name in a JSON object with its value as JSON.
type member struct{ name, value string }

// members returns the claims under their names in the ticket.
func (c Claims) members() []member {
	all := []member{{"cost", c.Cost}, {"endpoint", quote(c.Endpoint)}}
	if c.Reqnum >= 0 {
		all = append(all, member{"reqnum", strconv.FormatInt(c.Reqnum, 10)})
	}
	if c.RequestIdx != "" {
		all = append(all, member{"request_idx", c.RequestIdx})
	}
	return append(all, member{"url", quote(c.URL)})
}

// Message returns the message that is signed for the claims: the output of Python's
// json.dumps({…}, indent=4) for the signed fields, in the order of Fields. A field that
// the claims do not have is left out.
func (c Claims) Message() string {
	fields := c.Fields
	if fields == nil {
		fields = []string{"cost", "endpoint", "reqnum", "request_idx", "url"}
	}
	var lines []string
	for _, field := range fields {
		for _, m := range c.members() {
			if m.name == field {
				lines = append(lines, "    "+quote(m.name)+": "+m.value)
			}
		}
	}
	return "{\n" + strings.Join(lines, ",\n") + "\n}"
}

// object writes an object as json.dumps does without indent.
func object(members []member) string {
	parts := make([]string, len(members))
	for i, m := range members {
		parts[i] = quote(m.name) + ": " + m.value
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
