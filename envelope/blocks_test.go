package envelope

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// pieces are what the strings are built from, some of them not allowed in one.
var pieces = []string{
	"a", "prompt of some words ", strings.Repeat("x", 31), strings.Repeat("y", 64), "é", "\x7f", "\u2028",
	`\n`, `\"`, `\/`, `\t`, `\b`, `\f`, `\r`, `\\`, `\\\\`, `\\\"`, `\u00e9`, `\ud83d\ude00`,
	`"`, `\`, `\u12`, `\x`, `\'`, `\N`, "\n", "\x1f", "\x00", "\\\n",
}

// TestBlocks: strings of any pieces are read as jsontext's decoder reads them,
// wherever the pieces lie in blocks.
func TestBlocks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		several := rapid.SliceOfN(rapid.SampledFrom(pieces[:19]), 0, 30).Draw(t, "pieces")
		one := rapid.SampledFrom(pieces).Draw(t, "piece")
		more := rapid.SliceOfN(rapid.SampledFrom(pieces[:12]), 0, 12).Draw(t, "more")
		readsAsOracle(t, []byte(`"`+strings.Repeat("z", rapid.IntRange(0, 33).Draw(t, "offset"))+strings.Join(several, "")+one+strings.Join(more, "")+`"`))
	})
}

// TestPassBlocks: what passBlocks skips needs no check, and it never stops inside
// a character or an escape.
func TestPassBlocks(t *testing.T) {
	if !hasBlocks {
		t.Skip("passBlocks does not run on this processor, which has no AVX2 (every server's of x86-64 since 2015 has); the other tests go the way without it")
	}
	rapid.Check(t, func(t *rapid.T) {
		b := []byte(strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 40).Draw(t, "pieces"), ""))
		n := passBlocks(b)
		require.LessOrEqual(t, n, len(b))
		for i := 0; i < n; i++ {
			switch c := b[i]; {
			case c == '\\':
				i++
				require.Less(t, i, n, "an escape is cut")
				require.Contains(t, `"/bfnrt`, string(b[i]))
			case c < ' ', c == '"':
				require.Failf(t, "passed", "%q at %d of %q", c, i, b)
			}
		}
	})
	for text, want := range map[string]int{
		"": 0, strings.Repeat("x", 31): 0, strings.Repeat("x", 32): 32, strings.Repeat("x", 95): 64, strings.Repeat("x", 95) + `\n`: 95,
		strings.Repeat(`\n`, 48): 96, "x" + strings.Repeat(`\n`, 48): 95, strings.Repeat(`\\`, 48): 0, strings.Repeat(`x`, 40) + `"`: 32,
		strings.Repeat("x", 64) + `\u00e9` + strings.Repeat("x", 64): 64, strings.Repeat("\xff", 64): 64,
	} {
		require.Equal(t, want, passBlocks([]byte(text)), text)
	}
}
