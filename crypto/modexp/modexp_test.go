package modexp

import (
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func (x *number) big() *big.Int {
	sum := new(big.Int)
	for i := digits - 1; i >= 0; i-- {
		sum.Lsh(sum, digitLen).Add(sum, new(big.Int).SetUint64(x[i]))
	}
	return sum
}

// bigs draws numbers below limit of which many digits are at their ends, so that
// carries run far.
func bigs(limit *big.Int) *rapid.Generator[*big.Int] {
	return rapid.Custom(func(t *rapid.T) *big.Int {
		digit := rapid.OneOf(rapid.SampledFrom([]uint64{0, 1, mask, mask - 1, 1 << 51}), rapid.Uint64Max(mask))
		var x number
		run := rapid.IntRange(1, digits).Draw(t, "run")
		for i := 0; i < digits; {
			d := digit.Draw(t, "digit")
			for range run {
				if i < digits {
					x[i] = d
					i++
				}
			}
		}
		v := x.big()
		if rapid.Bool().Draw(t, "from the top") {
			v.Sub(limit, new(big.Int).Rsh(v, uint(rapid.IntRange(1, digits*digitLen).Draw(t, "shift"))))
			if v.Sign() < 0 {
				v.SetInt64(0)
			}
		}
		return v.Mod(v, limit)
	})
}

var top = new(big.Int).Lsh(big.NewInt(1), 8*Size)

// moduli draws odd numbers of 2048 bits.
func moduli() *rapid.Generator[*big.Int] {
	half := new(big.Int).Rsh(top, 1)
	return rapid.Map(bigs(half), func(v *big.Int) *big.Int {
		v = new(big.Int).Add(v, half)
		return v.SetBit(v, 0, 1)
	})
}

func prepared(t require.TestingT, n *big.Int) *Modulus {
	m, ok := New(n)
	require.True(t, ok)
	return m
}

func skipWithout(t testing.TB) {
	if !available {
		t.Skip("nothing of this package runs on this processor, which has no AVX-512 IFMA (Ice Lake, Zen 4 and later have); bigmod does its work, and is tested in ../")
	}
}

// TestMultiply holds the product against what the definition says.
func TestMultiply(t *testing.T) {
	skipWithout(t)
	rapid.Check(t, func(t *rapid.T) {
		n := moduli().Draw(t, "n")
		m := prepared(t, n)
		twice := new(big.Int).Lsh(n, 1)
		a, b := bigs(twice).Draw(t, "a"), bigs(twice).Draw(t, "b")
		x, y := digitsOf(a), digitsOf(b)
		var out number
		m.multiply(&out, &x, &y)
		got := out.big()
		require.Negative(t, got.Cmp(twice), "below 2n")
		for _, d := range out {
			require.LessOrEqual(t, d, uint64(mask))
		}
		// out * R = a * b modulo n
		got.Lsh(got, digits*digitLen).Sub(got, new(big.Int).Mul(a, b))
		require.Zero(t, got.Mod(got, n).Sign())
		// in place
		m.multiply(&x, &x, &y)
		require.Equal(t, out, x)
	})
}

// digitsOf takes up to 2049 bits.
func digitsOf(v *big.Int) (x number) {
	v = new(big.Int).Set(v)
	for i := range x {
		x[i] = v.Uint64() & mask
		v.Rsh(v, digitLen)
	}
	return x
}

// TestExp holds powers against math/big.
func TestExp(t *testing.T) {
	skipWithout(t)
	rapid.Check(t, func(t *rapid.T) {
		n := moduli().Draw(t, "n")
		m := prepared(t, n)
		x := bigs(n).Draw(t, "x")
		e := rapid.OneOf(rapid.SampledFrom([]uint{3, 5, 17, 257, 65537, 1<<31 - 1}), rapid.Map(rapid.UintRange(1, 1<<30-1), func(e uint) uint { return 2*e + 1 })).Draw(t, "e")
		got, ok := m.Exp(x.FillBytes(make([]byte, Size)), e)
		require.True(t, ok)
		want := new(big.Int).Exp(x, new(big.Int).SetUint64(uint64(e)), n)
		require.Equal(t, want.FillBytes(make([]byte, Size)), got)
	})
}

// TestEdges are the bases at the ends, and what is no base.
func TestEdges(t *testing.T) {
	skipWithout(t)
	n := new(big.Int).Sub(top, big.NewInt(1))
	m := prepared(t, n)
	one := big.NewInt(1)
	for _, x := range []*big.Int{new(big.Int), one, new(big.Int).Sub(n, one)} {
		got, ok := m.Exp(x.FillBytes(make([]byte, Size)), 65537)
		require.True(t, ok)
		require.Equal(t, x.FillBytes(make([]byte, Size)), got) // 0, 1 and -1 are their own odd powers
	}
	for name, base := range map[string][]byte{
		"n":         n.Bytes(),
		"too short": make([]byte, Size-1),
		"too long":  make([]byte, Size+1),
		"empty":     nil,
	} {
		_, ok := m.Exp(base, 65537)
		require.False(t, ok, name)
	}
}

// TestNew: only odd moduli of 2048 bits.
func TestNew(t *testing.T) {
	skipWithout(t)
	for name, n := range map[string]*big.Int{
		"even":      new(big.Int).Rsh(top, 1),
		"2047 bits": new(big.Int).Sub(new(big.Int).Rsh(top, 1), big.NewInt(1)),
		"2049 bits": new(big.Int).Add(top, big.NewInt(1)),
		"zero":      new(big.Int),
		"negative":  new(big.Int).Sub(big.NewInt(1), top),
	} {
		_, ok := New(n)
		require.False(t, ok, name)
	}
}

// FuzzExp: whatever modulus and base, the power is math/big's.
func FuzzExp(f *testing.F) {
	skipWithout(f)
	rng := rand.New(rand.NewPCG(1, 2))
	seed := func(fill func() byte) []byte {
		b := make([]byte, Size)
		for i := range b {
			b[i] = fill()
		}
		return b
	}
	random := func() byte { return byte(rng.Uint32()) }
	full := func() byte { return 0xff }
	f.Add(seed(random), seed(random), uint(65537))
	f.Add(seed(full), seed(random), uint(65537))
	f.Add(seed(full), seed(func() byte { return 0 }), uint(3))
	f.Fuzz(func(t *testing.T, modulus, base []byte, e uint) {
		n := new(big.Int).SetBytes(modulus)
		m, ok := New(n)
		if !ok {
			return
		}
		e = e%(1<<31)&^1 + 3
		x := new(big.Int).SetBytes(base)
		got, ok := m.Exp(base, e)
		require.Equal(t, len(base) == Size && x.Cmp(n) < 0, ok)
		if ok {
			want := x.Exp(x, new(big.Int).SetUint64(uint64(e)), n)
			require.Equal(t, want.FillBytes(make([]byte, Size)), got)
		}
	})
}

func BenchmarkExp(b *testing.B) {
	skipWithout(b)
	n := new(big.Int).Sub(top, big.NewInt(1941))
	m := prepared(b, n)
	base := make([]byte, Size)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range base {
		base[i] = byte(rng.Uint32())
	}
	base[0] = 0
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := m.Exp(base, 65537); !ok {
			b.Fatal()
		}
	}
}
