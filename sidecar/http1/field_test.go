package http1

import (
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http/httpguts"
	"pgregory.net/rapid"
)

func TestCutLine(t *testing.T) {
	for block, want := range map[string][2]string{
		"":               {"", ""},
		"A: b":           {"A: b", ""},
		"A: b\r\nC: d":   {"A: b", "C: d"},
		"A: b\nC: d\r\n": {"A: b", "C: d\r\n"},
		"\r\nA: b":       {"", "A: b"},
		"A\rB\r\r\n":     {"A\rB\r", ""},
	} {
		line, rest := CutLine([]byte(block))
		require.Equal(t, want, [2]string{string(line), string(rest)}, "%q", block)
	}
}

func TestSplitField(t *testing.T) {
	for line, want := range map[string][2]string{
		"A:b":              {"A", "b"},
		"A: \tb c\t ":      {"A", "b c"},
		"A:":               {"A", ""},
		"a!#$%&'*+.^_`|~:": {"a!#$%&'*+.^_`|~", ""},
		"A: b:c":           {"A", "b:c"},
		"A: \x01\xe9":      {"A", "\x01\xe9"},
	} {
		name, value, ok := SplitField([]byte(line))
		require.True(t, ok, "%q", line)
		require.Equal(t, want, [2]string{string(name), string(value)}, "%q", line)
	}
	for _, line := range []string{"", "A", ":", ": b", "A : b", " A: b", "\tA: b", "A b: c", "(A): b", "\xe9: b", "A: \x00", "A: b\rc", "A: b\nc"} {
		_, _, ok := SplitField([]byte(line))
		require.False(t, ok, "%q", line)
	}
}

func TestBytes(t *testing.T) {
	for i := range 256 {
		c := byte(i)
		one := []byte{c}
		require.Equal(t, httpguts.IsTokenRune(rune(c)), IsToken(one), "%q", c)
		require.Equal(t, httpguts.ValidHeaderFieldValue(string(one)), IsText(c), "%q", c)
		require.Equal(t, !strings.ContainsRune("\r\n\x00", rune(c)), Printable(one), "%q", c)
		require.Equal(t, c > ' ' && c != 0x7f, Visible(one), "%q", c)
		require.Equal(t, len(TrimBlanks(one)) == 0, IsBlank(c), "%q", c)
		if c < 0x80 {
			require.Equal(t, strings.ToLower(string(one)), string(Lower(c)))
		} else {
			require.Equal(t, c, Lower(c))
		}
		value, err := strconv.ParseUint(string(one), 16, 8)
		if err != nil {
			require.Equal(t, -1, HexValue(c))
		} else {
			require.Equal(t, int(value), HexValue(c))
		}
	}
	require.False(t, IsToken(nil))
}

func TestParseLength(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "007": 7, "9223372036854775799": math.MaxInt64 - 8, strings.Repeat("0", 40) + "3": 3,
		"": -1, "+1": -1, "-1": -1, "1 ": -1, "0x1": -1, "1,1": -1, "9223372036854775808": -1, "99999999999999999999": -1,
	} {
		n, ok := ParseLength([]byte(text))
		if want < 0 {
			require.False(t, ok, text)
		} else {
			require.True(t, ok, text)
			require.Equal(t, want, n, text)
		}
	}
}

// Names compare ignoring the case of ASCII letters, and of no others.
func TestFold(t *testing.T) {
	require.True(t, EqualFold([]byte("Keep-ALIVE"), "keep-alive"))
	require.False(t, EqualFold([]byte("\u212aeep-alive"), "keep-alive"))
	require.False(t, EqualFold([]byte("[keep"), "{keep"))
	require.True(t, HasPrefixFold([]byte("Text/Event-Stream; a"), "text/event-stream"))
	require.False(t, HasPrefixFold([]byte("text"), "text/event-stream"))
}

func TestHasElement(t *testing.T) {
	for list, want := range map[string]bool{
		"close": true, "CLOSE": true, "a, b ,\tclose ,c": true, ",,close": true, "close,": true,
		"": false, ",": false, "closed": false, "a close": false, "\"close\"": false, "c\u212alose": false,
	} {
		require.Equal(t, want, HasElement([]byte(list), []byte("Close")), "%q", list)
	}
	require.False(t, HasElement([]byte("\u212a"), []byte("k")))
}

func TestNamedByConnection(t *testing.T) {
	var named NamedByConnection
	require.False(t, named.Has([]byte("x-a")))
	named.Add([]byte("Keep-Alive"))
	named.Add([]byte("close"))
	require.Empty(t, named, "the usual values need no memory")
	named.Add([]byte("close, X-A"))
	named.Add([]byte("x-b"))
	for field, want := range map[string]bool{"x-a": true, "X-B": true, "close": true, "x-c": false, "": false} {
		require.Equal(t, want, named.Has([]byte(field)), field)
	}
}

// Name and value, put together again, make the same line but for blanks.
func TestSplitFieldKeeps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.SliceOfN(rapid.SampledFrom([]byte("aZ-:\t ,\x00\r\n\xff")), 0, 12).Draw(t, "line")
		name, value, ok := SplitField(line)
		if !ok {
			return
		}
		require.Equal(t, string(name)+":"+string(value), string(name)+":"+strings.Trim(string(line[len(name)+1:]), " \t"))
		require.Equal(t, string(name), string(line[:len(name)]))
	})
}
