//go:build amd64 || arm64

package modexp

// With digits of 64 bits, words, a Montgomery product (Montgomery, "Modular
// multiplication without trial division", 1985) is made in two steps: the whole
// product, of twice the words, and its reduction. Koç, Acar and Kaliski (1996)
// name that SOS. It lets a square be made for itself, with half of the
// multiplications; sixteen of the eighteen products of an RSA signature's check
// are squares.
//
// Numbers are only kept below R = 2^2048, and not below n: "almost Montgomery"
// in Gueron, "Efficient software implementations of modular exponentiation"
// (2012). With a and b below R, (a*b + q*n)/R is below R + n, so that n is to be
// taken off where there is a carry, and nothing need be compared.

// A double is the product of two numbers, in words.
type double [2 * words]uint64

// product makes t, which must be zero, a*b.
//
//go:noescape
func product(t *double, a, b *number)

// square makes t, which must be zero, a*a.
//
//go:noescape
func square(t *double, a *number)

// reduce adds to t that multiple of n which makes its lower half zero, and leaves
// the sum in its upper half and in carry. What it leaves in the lower half is of
// no use. inverse is -1/n modulo 2^64.
//
//go:noescape
func reduce(t *double, n *number, inverse uint64) (carry uint64)

// multiplyWords makes out a*b/R modulo n, below R as a and b must be. It may be a
// or b itself.
func (m *Modulus) multiplyWords(out, a, b *number) {
	var t double
	product(&t, a, b)
	m.reduce(out, &t)
}

// squareWords is multiplyWords of a and a.
func (m *Modulus) squareWords(out, a *number) {
	var t double
	square(&t, a)
	m.reduce(out, &t)
}

func (m *Modulus) reduce(out *number, t *double) {
	carry := reduce(t, &m.n, m.inverse)
	copy(out[:words], t[words:])
	if carry != 0 {
		m.radix.subtract(out, &m.n)
	}
}
