package crypto

import (
	"encoding/json"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func spellingsOf(t *testing.T, literal string) []string {
	t.Helper()
	c, err := ParseCost([]byte(literal))
	require.NoError(t, err, literal)
	require.Equal(t, literal, c.String())
	var buf [maxSpellings]string
	return c.spellings(&buf)
}

// Spellings of the same number verify for each other; those of different numbers do
// not.
func TestSpellings(t *testing.T) {
	tests := []struct{ literal, same, other string }{
		{"256", "256 256.0", "257"},
		{"256.0", "256.0 256", "256.5"},
		{"2.56e2", "256.0 256", ""},
		{"0.5", "0.5", "0"},
		{"0", "0 0.0 -0.0", ""},
		{"-0", "0 0.0 -0.0", ""},
		{"0.0", "0 0.0 -0.0", ""},
		{"-0.0", "0 0.0 -0.0", ""},
		{"1e-05", "1e-05", ""},
		{"0.00001", "1e-05", ""},
		{"10000000000000000", "10000000000000000 1e+16", ""},
		{"1e16", "10000000000000000 1e+16", ""},
		{"123456789012345680000", "1.2345678901234568e+20 123456789012345680000", ""}, // as JavaScript prints the float
		{"1.2345678901234568e+20", "1.2345678901234568e+20 123456789012345680000 123456789012345683968", ""},
		{"9223372036854776000", "9223372036854776000 9.223372036854776e+18 9223372036854775808", "9223372036854775807"}, // JavaScript's 2^63
		{"9223372036854775808", "9223372036854775808 9.223372036854776e+18", "9223372036854776000"},
		{"1e+23", "1e+23 100000000000000000000000 99999999999999991611392", ""},
		{"9007199254740993", "9007199254740993", "9007199254740992.0"},
		{"9007199254740992", "9007199254740992 9007199254740992.0", "9007199254740993"},
		{"100000000000000000000001", "100000000000000000000001", "1e+23"},
	}
	for _, tt := range tests {
		got := spellingsOf(t, tt.literal)
		for _, want := range strings.Fields(tt.same) {
			require.Contains(t, got, want, tt.literal)
		}
		for _, never := range strings.Fields(tt.other) {
			require.NotContains(t, got, never, tt.literal)
		}
	}
}

func TestNoCost(t *testing.T) {
	for _, literal := range []string{
		"", "-1", "-0.5", "1e400", "-1e-3", "nan", "Infinity", "0x10", "1_000", "01", "1.", ".5", "+1", "1e", "1e+", " 1", "1 ", `"1"`, "null",
		strings.Repeat("9", 400), strings.Repeat("9", maxIntegerDigits+1),
	} {
		_, err := ParseCost([]byte(literal))
		require.ErrorIs(t, err, ErrCost, literal)
	}
}

// FuzzParseCost: a cost is a JSON number, and every spelling of it is a JSON number of
// the same value, or the shortest one that reads back as it.
func FuzzParseCost(f *testing.F) {
	for _, seed := range []string{"256", "256.0", "1e23", "-0", "9007199254740993", "1e-400", "0.1", "123456789012345680000"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, literal string) {
		c, err := ParseCost([]byte(literal))
		valid := json.Valid([]byte(literal)) && literal != "" && strings.ContainsAny(literal[:1], "-0123456789")
		if err != nil {
			if valid && len(literal) < 300 {
				f, err := json.Number(literal).Float64()
				require.True(t, err != nil || f < 0, "%s is a cost", literal)
			}
			return
		}
		require.True(t, valid, "%q is no JSON number", literal)
		require.False(t, c.Float64() < 0 || math.IsInf(c.Float64(), 0) || math.IsNaN(c.Float64()))
		var buf [maxSpellings]string
		list := c.spellings(&buf)
		require.NotEmpty(t, list)
		for i, s := range list {
			require.True(t, json.Valid([]byte(s)), s)
			require.False(t, slices.Contains(list[:i], s), "%s stands twice", s)
			back, err := ParseCost([]byte(s))
			require.NoError(t, err)
			require.Equal(t, c.Float64(), back.Float64(), "%s for %s", s, literal)
			if isInteger(literal) && isInteger(s) && c.Float64() != 0 {
				a, _ := new(big.Int).SetString(literal, 10)
				b, _ := new(big.Int).SetString(s, 10)
				shortest := literal == shortestInteger(c.Float64()) && s == exactInteger(c.Float64())
				require.True(t, a.Cmp(b) == 0 || shortest, "an integer has one integer spelling, or is JavaScript's for another")
			}
		}
	})
}
