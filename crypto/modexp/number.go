package modexp

import (
	"encoding/binary"
	"math/bits"
)

// The width of the moduli that are not left to bigmod.
const (
	width = 2048 // bits
	size  = width / 8
	words = width / 64
)

// A number is a row of digits, the lowest first. How many there are, and how
// long, depends on the way: what lies above is zero.
type number [40]uint64

// A radix is how numbers are cut into digits.
type radix struct {
	digits, length uint // length of a digit, bits
}

// With digits of 52 bits a number has 32 bits more than the modulus, with digits
// of 64 bits none.
var radixOf = map[Way]radix{IFMA: {40, 52}, ADX: {words, 64}, ARM64: {words, 64}}

func (r radix) mask() uint64 { return 1<<r.length - 1 }

// number reads the bytes of a number, the highest first.
func (r radix) number(b []byte) (x number) {
	var in [words + 1]uint64 // the lowest first, and a zero to read into
	for i := range words {
		in[i] = binary.BigEndian.Uint64(b[size-8*(i+1):])
	}
	for i := range r.digits {
		word, shift := i*r.length/64, i*r.length%64
		x[i] = (in[word]>>shift | in[word+1]<<(64-shift)) & r.mask()
	}
	return x
}

// bytes is the number in bytes, the highest first. It must fit.
func (r radix) bytes(x *number) []byte {
	var out [words + 1]uint64
	for i, digit := range x[:r.digits] {
		word, shift := uint(i)*r.length/64, uint(i)*r.length%64
		out[word] |= digit << shift
		out[word+1] |= digit >> (64 - shift) // none for a shift of 0
	}
	b := make([]byte, size)
	for i := range words {
		binary.BigEndian.PutUint64(b[size-8*(i+1):], out[i])
	}
	return b
}

// below reports whether x < y.
func (x *number) below(y *number) bool {
	for i := len(x) - 1; i >= 0; i-- {
		if x[i] != y[i] {
			return x[i] < y[i]
		}
	}
	return false
}

// subtract makes x the difference x - y, modulo the range of the digits.
func (r radix) subtract(x, y *number) {
	borrow := uint64(0)
	for i := range r.digits {
		x[i], borrow = bits.Sub64(x[i], y[i], borrow)
		x[i] &= r.mask()
	}
}
