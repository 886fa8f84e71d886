package envelope

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"
)

// oracle reads one value with jsontext, as lenient as the contract is below the
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
	r := reader{b: text}
	kind, ok := r.value()
	if r.peek(); !ok || r.at < len(text) {
		return 0, false
	}
	return kind, true
}

// FuzzReader: the reader accepts what jsontext does, and nothing else.
func FuzzReader(f *testing.F) {
	for _, seed := range jsonSeeds() {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !utf8.Valid(text) || tooDeep(text) >= 0 {
			return
		}
		readsAsOracle(t, text)
	})
}

func readsAsOracle(t *testing.T, text []byte) {
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

// Every text that is cut off somewhere is refused at its end.
func TestReaderCut(t *testing.T) {
	const text = `{"a":[1.5e-3,"x\u00e9\"y",true,false,null,{"b":{}}]}`
	for n := range len(text) {
		r := reader{b: []byte(text[:n])}
		_, ok := r.value()
		require.False(t, ok, text[:n])
		require.Equal(t, n, r.at, text[:n])
	}
}
