// Package modexp raises numbers to public powers modulo a public number, which is
// the cost of checking an RSA signature. For moduli of 2048 bits it has code of its
// own for each kind of processor, see Way. It must not be used with secrets: its
// running time and its branches depend on the values.
package modexp

import (
	"fmt"
	"math/big"
	"math/bits"
	"slices"

	"filippo.io/bigmod"
)

// A Way is an implementation of modular exponentiation.
type Way string

const (
	// IFMA is AVX-512's multiplication of 52 bits, eight at a time: Intel since
	// Ice Lake, AMD since Zen 4.
	IFMA Way = "ifma"
	// ADX is MULX with two chains of carries, ADCX and ADOX: Intel since
	// Broadwell, AMD since Zen.
	ADX Way = "adx"
	// ARM64 is MUL and UMULH, which every arm64 has.
	ARM64 Way = "arm64"
	// Portable is filippo.io/bigmod: any processor, and moduli of any size.
	Portable Way = "portable"
)

// Ways returns the ways that work for a modulus of that many bits on this
// processor, the fastest first. Portable is always among them.
func Ways(bits int) []Way {
	if bits == width {
		return append(slices.Clone(available), Portable)
	}
	return []Way{Portable}
}

// A Modulus is an odd number, prepared. Make it with New; it is safe for
// concurrent use.
type Modulus struct {
	way      Way
	portable *bigmod.Modulus // set with Portable, which the rest is not for
	radix    radix
	n        number
	square   number // of the Montgomery radix R = 2^(digits of the radix), modulo n
	inverse  uint64 // -1/n modulo the base of the digits
}

// New prepares n for the fastest way. n must be odd and above 1.
func New(n *big.Int) (*Modulus, error) { return Ways(n.BitLen())[0].New(n) }

// New prepares n for this way, which must be one of Ways(n.BitLen()). It is for
// tests and benchmarks: the fastest one is package New's.
func (w Way) New(n *big.Int) (*Modulus, error) {
	if n.Sign() <= 0 || n.Bit(0) == 0 {
		return nil, fmt.Errorf("modulus is not a positive odd number")
	}
	if !slices.Contains(Ways(n.BitLen()), w) {
		return nil, fmt.Errorf("this processor has no %s for a modulus of %d bits", w, n.BitLen())
	}
	m := &Modulus{way: w}
	if w == Portable {
		var err error
		m.portable, err = bigmod.NewModulus(n.Bytes())
		return m, err
	}
	m.radix = radixOf[w]
	m.n = m.radix.number(n.FillBytes(make([]byte, size)))
	square := new(big.Int).Lsh(big.NewInt(1), 2*m.radix.digits*m.radix.length)
	m.square = m.radix.number(square.Mod(square, n).FillBytes(make([]byte, size)))
	// Newton's iteration doubles the correct bits: n is its own inverse modulo 8.
	x := m.n[0]
	for range 5 {
		x *= 2 - m.n[0]*x
	}
	m.inverse = -x & m.radix.mask()
	return m, nil
}

// Exp is RSAVP1 of RFC 8017 section 5.2.2: base to the power of e modulo n, as
// many bytes as n has, the highest first. It is false where base is not of that
// length or not below n. e must be odd, as every RSA exponent is, and above 1.
func (m *Modulus) Exp(base []byte, e uint) (power []byte, ok bool) {
	if m.way == Portable {
		return m.expPortable(base, e)
	}
	if len(base) != size {
		return nil, false
	}
	x := m.radix.number(base)
	if !x.below(&m.n) {
		return nil, false
	}
	// Square and multiply, from the highest bit. All but the last multiplication
	// are by x times R, which keeps the factor R; the last one is by x itself and
	// takes it away. What it leaves is below 2n, since x is below n.
	var scaled, sum number
	m.multiply(&scaled, &x, &m.square)
	sum = scaled
	for bit := bits.Len(e) - 2; bit > 0; bit-- {
		m.squareOf(&sum, &sum)
		if e>>bit&1 == 1 {
			m.multiply(&sum, &sum, &scaled)
		}
	}
	m.squareOf(&sum, &sum)
	m.multiply(&sum, &sum, &x)
	if !sum.below(&m.n) {
		m.radix.subtract(&sum, &m.n)
	}
	return m.radix.bytes(&sum), true
}

func (m *Modulus) expPortable(base []byte, e uint) (power []byte, ok bool) {
	if len(base) != m.portable.Size() {
		return nil, false
	}
	x, err := bigmod.NewNat().SetBytes(base, m.portable)
	if err != nil {
		return nil, false
	}
	return bigmod.NewNat().ExpShortVarTime(x, e, m.portable).Bytes(m.portable), true
}
