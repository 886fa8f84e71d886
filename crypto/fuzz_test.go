package crypto

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// FuzzMessage compares the message, with each spelling of its cost, with one that is
// built in the simplest possible way.
func FuzzMessage(f *testing.F) {
	f.Add("E", "http://203.0.113.7:3000", "256.0", int64(1), "", []byte{0, 1, 2, 4})
	f.Add("\"\\/\b\f\n\r\t\x00\x7f", "é\u2028😀\ufffd", "1e+23", int64(1)<<62, "-7", []byte{4, 3, 2, 1, 0})
	f.Add("", "", "-0", int64(0), "123456789012345678901234567890", []byte{3})
	f.Fuzz(func(t *testing.T, endpoint, url, literal string, reqnum int64, idx string, order []byte) {
		cost, err := ParseCost([]byte(literal))
		if err != nil || reqnum < 0 || !utf8.ValidString(endpoint) || !utf8.ValidString(url) || idx != "" && (!isNumber(idx) || !isInteger(idx)) {
			return
		}
		m := &Message{Cost: cost, Endpoint: endpoint, Reqnum: reqnum, RequestIdx: idx, URL: url}
		var fields []Field
		for _, b := range order {
			if x := Field(b) % fieldCount; m.has(x) && !slices.Contains(fields, x) {
				fields = append(fields, x)
			}
		}
		if len(fields) == 0 {
			return
		}
		var buf [maxSpellings]string
		for _, spelling := range cost.spellings(&buf) {
			var lines []string
			for _, x := range fields {
				value := map[Field]string{
					FieldCost: spelling, FieldEndpoint: plainQuote(endpoint), FieldReqnum: fmt.Sprint(reqnum), FieldRequestIdx: idx, FieldURL: plainQuote(url),
				}[x]
				lines = append(lines, `    "`+x.String()+`": `+value)
			}
			got := string(appendMessage(nil, &indented, fields, m, spelling))
			require.Equal(t, "{\n"+strings.Join(lines, ",\n")+"\n}", got)
			require.True(t, json.Valid([]byte(got)))
		}
	})
}

// plainQuote writes a string as Python does, a UTF-16 unit at a time.
func plainQuote(s string) string {
	short := map[uint16]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\f': `\f`, '\b': `\b`}
	var b strings.Builder
	for _, unit := range utf16.Encode([]rune(s)) {
		switch escape, ok := short[unit]; {
		case ok:
			b.WriteString(escape)
		case unit < 0x20 || unit > 0x7e:
			fmt.Fprintf(&b, `\u%04x`, unit)
		default:
			b.WriteByte(byte(unit))
		}
	}
	return `"` + b.String() + `"`
}
