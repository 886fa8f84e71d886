package envelope

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"
)

// oracle reads one value with jsontext, as lenient as the contract is outside the
// ticket.
func oracle(text []byte) (kind jsontext.Kind, valid bool) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(bytes.Clone(text)), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	kind = dec.PeekKind()
	if _, err := dec.ReadValue(); err != nil {
		return 0, false
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return 0, false
	}
	return kind, true
}

func readOne(text []byte) (kind jsontext.Kind, valid bool) {
	r := reader{tokens: tokens{b: text}}
	kind, ok := r.value()
	if r.peek(); !ok || r.at < len(text) {
		return 0, false
	}
	return kind, true
}

// FuzzReader: the reader accepts exactly what jsontext accepts.
func FuzzReader(f *testing.F) {
	for _, seed := range jsonSeeds() {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r := reader{tokens: tokens{b: text}}
		if _, ok := r.value(); !utf8.Valid(text) || !ok && r.tooDeep() {
			return
		}
		readsAsOracle(t, text)
	})
}

func readsAsOracle(t require.TestingT, text []byte) {
	wantKind, want := oracle(text)
	kind, got := readOne(text)
	require.Equal(t, want, got, "%q", text)
	require.Equal(t, wantKind, kind, "%q", text)
}

func jsonSeeds() []string {
	return []string{
		``, ` `, `{}`, ` [ ] `, `{"a":1,"b":[true,false,null,"x\n\u00e9",-0.5e+3]}`, `"` + strings.Repeat("x", 40) + `"`,
		`-`, `-0`, `01`, `1.`, `1.e1`, `1e`, `1e+`, `.5`, `+1`, `0x1`, `1E9`, `tru`, `truee`, `nul`, `"\u12g4"`, `"\x"`, `"\`, `"`,
		`[1,]`, `[,1]`, `{"a":1,}`, `{"a"}`, `{a:1}`, `{"a":1 "b":2}`, `[1 2]`, `1 2`, "\"\x00\"", "\"\x1f\"", "\"\x7f\"", "\v1", "1\x00",
		`"é\ud800"`, `[[[[[]]]]]`, `{"":{"":{}}}`, `"aaaaaaa\"aaaaaaaa\\aaaaaaaaa\naaaaaaaaaaaaaaaa"`,
	}
}

// Each byte of each length of string, at each place, plain and escaped: the
// reader looks at eight at a time.
func TestReaderStrings(t *testing.T) {
	for length := range 34 {
		for at := range length {
			for c := range 128 {
				text := []byte(`"` + strings.Repeat("a", length) + `"`)
				text[1+at] = byte(c)
				readsAsOracle(t, text)
				if at > 0 {
					text[at] = '\\'
					readsAsOracle(t, text)
				}
			}
		}
	}
	for _, text := range []string{"é", "日本語日本語", "😀😀😀", "ÿÿÿÿÿÿÿÿÿ\u0080\u0081"} {
		_, valid := readOne([]byte(`"` + text + `"`))
		require.True(t, valid, text)
	}
}

// Only nested brackets count towards the depth, not those in strings or side by
// side.
func TestReaderDepth(t *testing.T) {
	mixed := strings.Repeat(`[{"[[{{\"":`, maxDepth/2) + `%` + strings.Repeat(`}]`, maxDepth/2)
	for inner, want := range map[string]bool{
		`1`: true, `"[{"`: true, `[]`: false, `{}`: false, `[[`: false, `{"a":1}`: false,
	} {
		text := []byte(`[` + strings.Repeat(`[],{"a":{}},`, maxDepth) + strings.Replace(mixed, "%", inner, 1)[1:])
		r := reader{tokens: tokens{b: text}}
		_, got := r.value()
		require.Equal(t, want, got, inner)
		require.Equal(t, !want, r.tooDeep(), inner)
		if !want {
			require.Equal(t, inner[0], text[r.at], inner)
			require.Equal(t, maxDepth, r.depth, inner)
		}
	}
}

// Depth counts from the body's own object, whichever part of the body is deep.
func TestTooDeep(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for before, outer := range map[string]int{
		`{"x":`: 1, `{"cost":`: 1, `{"auth_data":`: 1, `{"auth_data":{"x":`: 2, `{"payload":{"x":`: 2, `{"payload":{"parameters":{"best_of":`: 3,
	} {
		after := strings.Repeat("}", outer)
		_, err := Parse([]byte(before+deep(maxDepth-outer)+after), Options{})
		require.ErrorIs(t, err, ErrInvalidTicket, before)
		_, err = Parse([]byte(before+deep(maxDepth-outer+1)+after), Options{})
		require.ErrorContains(t, err, fmt.Sprintf("nested deeper than 512, at offset %d", len(before)+maxDepth-outer), before)
	}
}

// A text that is cut off anywhere is rejected at its end.
func TestReaderCut(t *testing.T) {
	const text = `{"a":[1.5e-3,"x\u00e9\"y",true,false,null,{"b":{}}]}`
	for n := range len(text) {
		r := reader{tokens: tokens{b: []byte(text[:n])}}
		_, ok := r.value()
		require.False(t, ok, text[:n])
		require.Equal(t, n, r.at, text[:n])
	}
}
