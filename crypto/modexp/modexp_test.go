package modexp

import (
	"math/big"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Valgrind, with which test/measure counts instructions, runs ADCX and ADOX,
// but its CPUID does not tell of them.
func init() {
	if way := Way(os.Getenv("MODEXP_WAY")); way != "" && !slices.Contains(available, way) {
		available = append(available, way)
	}
}

// needs says where a way runs.
var needs = map[Way]string{
	IFMA:  "an x86-64 processor with AVX-512 IFMA (Ice Lake, Zen 4, or later)",
	ADX:   "an x86-64 processor with BMI2 and ADX (Broadwell, Zen, or later)",
	ARM64: "arm64, or: GOARCH=arm64 go test -exec qemu-aarch64-static ./crypto/modexp",
}

// everyWay runs test for each way of this processor for 2048 bits, and says which
// ones it has not.
func everyWay(t *testing.T, test func(t *testing.T, way Way)) {
	eachOf(t, []Way{IFMA, ADX, ARM64, Portable}, test)
}

func eachOf(t *testing.T, tried []Way, test func(t *testing.T, way Way)) {
	ways := Ways(width)
	for _, way := range tried {
		t.Run(string(way), func(t *testing.T) {
			if !slices.Contains(ways, way) {
				t.Skip("it runs on " + needs[way])
			}
			test(t, way)
		})
	}
}

// big is the number.
func (r radix) big(x *number) *big.Int {
	sum := new(big.Int)
	for _, digit := range slices.Backward(x[:r.digits]) {
		sum.Lsh(sum, r.length).Add(sum, new(big.Int).SetUint64(digit))
	}
	return sum
}

// digitsOf takes what fits into the digits.
func (r radix) digitsOf(v *big.Int) (x number) {
	v = new(big.Int).Set(v)
	mask := new(big.Int).SetUint64(r.mask())
	for i := range r.digits {
		x[i] = new(big.Int).And(v, mask).Uint64()
		v.Rsh(v, r.length)
	}
	return x
}

// bigs draws numbers below limit of which many digits, of either length, are at
// their ends, so that carries run far.
func bigs(limit *big.Int) *rapid.Generator[*big.Int] {
	return rapid.Custom(func(t *rapid.T) *big.Int {
		r := rapid.SampledFrom([]radix{{40, 52}, {33, 64}}).Draw(t, "radix")
		mask := r.mask()
		digit := rapid.OneOf(rapid.SampledFrom([]uint64{0, 1, mask, mask - 1, mask>>1 + 1}), rapid.Uint64Max(mask))
		var x number
		run := rapid.UintRange(1, r.digits).Draw(t, "run")
		for i := uint(0); i < r.digits; {
			d := digit.Draw(t, "digit")
			for range run {
				if i < r.digits {
					x[i] = d
					i++
				}
			}
		}
		v := r.big(&x)
		if rapid.Bool().Draw(t, "from the top") {
			v.Sub(limit, new(big.Int).Rsh(v, rapid.UintRange(1, r.digits*r.length).Draw(t, "shift")))
			if v.Sign() < 0 {
				v.SetInt64(0)
			}
		}
		return v.Mod(v, limit)
	})
}

var top = new(big.Int).Lsh(big.NewInt(1), width)

// moduli draws odd numbers of 2048 bits.
func moduli() *rapid.Generator[*big.Int] {
	half := new(big.Int).Rsh(top, 1)
	return rapid.Map(bigs(half), func(v *big.Int) *big.Int {
		v = new(big.Int).Add(v, half)
		return v.SetBit(v, 0, 1)
	})
}

func prepared(t require.TestingT, way Way, n *big.Int) *Modulus {
	m, err := way.New(n)
	require.NoError(t, err)
	return m
}

// TestMultiply holds product and square against what the definition says; those of
// the portable way are bigmod's.
func TestMultiply(t *testing.T) {
	eachOf(t, []Way{IFMA, ADX, ARM64}, func(t *testing.T, way Way) {
		rapid.Check(t, func(t *rapid.T) {
			n := moduli().Draw(t, "n")
			m := prepared(t, way, n)
			limit := top // of what comes in and goes out
			if way == IFMA {
				limit = new(big.Int).Lsh(n, 1)
			}
			a, b := bigs(limit).Draw(t, "a"), bigs(limit).Draw(t, "b")
			x, y := m.radix.digitsOf(a), m.radix.digitsOf(b)
			holds := func(out *number, product *big.Int) {
				got := m.radix.big(out)
				require.Negative(t, got.Cmp(limit), "below the limit")
				require.Equal(t, *out, m.radix.digitsOf(got), "whole digits, zero above")
				// out * R = product modulo n
				got.Lsh(got, m.radix.digits*m.radix.length).Sub(got, product)
				require.Zero(t, got.Mod(got, n).Sign())
			}
			var product, square number
			m.multiply(&product, &x, &y)
			holds(&product, new(big.Int).Mul(a, b))
			m.squareOf(&square, &x)
			holds(&square, new(big.Int).Mul(a, a))
			// in place
			second := x
			m.multiply(&x, &x, &y)
			require.Equal(t, product, x)
			m.squareOf(&second, &second)
			require.Equal(t, square, second)
		})
	})
}

var exponents = rapid.OneOf(
	rapid.SampledFrom([]uint{3, 5, 17, 257, 65537, 1<<31 - 1}),
	rapid.Map(rapid.UintRange(1, 1<<30-1), func(e uint) uint { return 2*e + 1 }))

// TestExp holds powers against math/big.
func TestExp(t *testing.T) {
	everyWay(t, func(t *testing.T, way Way) {
		rapid.Check(t, func(t *rapid.T) {
			n := moduli().Draw(t, "n")
			m := prepared(t, way, n)
			x, e := bigs(n).Draw(t, "x"), exponents.Draw(t, "e")
			got, ok := m.Exp(x.FillBytes(make([]byte, size)), e)
			require.True(t, ok)
			want := new(big.Int).Exp(x, new(big.Int).SetUint64(uint64(e)), n)
			require.Equal(t, want.FillBytes(make([]byte, size)), got)
		})
	})
}

// TestOtherSizes: moduli of other sizes than 2048 bits, too.
func TestOtherSizes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		length := rapid.SampledFrom([]int{2047, 2049, 2056, 3072, 4096}).Draw(t, "bits")
		b := rapid.SliceOfN(rapid.Byte(), (length+7)/8, (length+7)/8).Draw(t, "n")
		n := new(big.Int).SetBytes(b)
		n.SetBit(n.Mod(n, new(big.Int).Lsh(big.NewInt(1), uint(length))), length-1, 1)
		n.SetBit(n, 0, 1)
		m, err := New(n)
		require.NoError(t, err)
		x := new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), len(b), len(b)).Draw(t, "x"))
		x.Mod(x, n)
		e := exponents.Draw(t, "e")
		got, ok := m.Exp(x.FillBytes(make([]byte, len(b))), e)
		require.True(t, ok)
		want := new(big.Int).Exp(x, new(big.Int).SetUint64(uint64(e)), n)
		require.Equal(t, want.FillBytes(make([]byte, len(b))), got)
	})
}

// TestEdges are the bases at the ends, and what is no base.
func TestEdges(t *testing.T) {
	everyWay(t, func(t *testing.T, way Way) {
		n := new(big.Int).Sub(top, big.NewInt(1))
		m := prepared(t, way, n)
		one := big.NewInt(1)
		for _, x := range []*big.Int{new(big.Int), one, new(big.Int).Sub(n, one)} {
			got, ok := m.Exp(x.FillBytes(make([]byte, size)), 65537)
			require.True(t, ok)
			require.Equal(t, x.FillBytes(make([]byte, size)), got) // 0, 1 and -1 are their own odd powers
		}
		for name, base := range map[string][]byte{
			"n":         n.Bytes(),
			"too short": make([]byte, size-1),
			"too long":  make([]byte, size+1),
			"empty":     nil,
		} {
			_, ok := m.Exp(base, 65537)
			require.False(t, ok, name)
		}
	})
}

// TestNew: only odd moduli, and only what the way can.
func TestNew(t *testing.T) {
	one := big.NewInt(1)
	for name, n := range map[string]*big.Int{
		"even":     new(big.Int).Rsh(top, 1),
		"zero":     new(big.Int),
		"one":      one,
		"negative": new(big.Int).Sub(one, top),
	} {
		_, err := New(n)
		require.Error(t, err, name)
	}
	largest := new(big.Int).Sub(top, one)
	m, err := New(largest)
	require.NoError(t, err)
	require.Equal(t, Ways(width)[0], m.way)
	for _, way := range []Way{IFMA, ADX, ARM64, Portable} {
		_, err := way.New(largest)
		require.Equal(t, slices.Contains(Ways(width), way), err == nil, way)
		for _, n := range []*big.Int{new(big.Int).Rsh(largest, 1), new(big.Int).Add(top, one)} {
			_, err := way.New(n)
			require.Equal(t, way == Portable, err == nil, "%s, %d bits", way, n.BitLen())
		}
	}
}

// FuzzExp: whatever modulus and base, the power is math/big's in every way.
func FuzzExp(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	seed := func(fill func() byte) []byte {
		b := make([]byte, size)
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
		if n.BitLen() != width || n.Bit(0) == 0 {
			return
		}
		e = e%(1<<31)&^1 + 3
		x := new(big.Int).SetBytes(base)
		want := new(big.Int).Exp(x, new(big.Int).SetUint64(uint64(e)), n)
		for _, way := range Ways(width) {
			got, ok := prepared(t, way, n).Exp(base, e)
			require.Equal(t, len(base) == size && x.Cmp(n) < 0, ok, way)
			if ok {
				require.Equal(t, want.FillBytes(make([]byte, size)), got, way)
			}
		}
	})
}

func BenchmarkExp(b *testing.B) {
	for _, way := range Ways(width) {
		b.Run(string(way), func(b *testing.B) {
			m := prepared(b, way, new(big.Int).Sub(top, big.NewInt(1941)))
			base := make([]byte, size)
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
		})
	}
}
