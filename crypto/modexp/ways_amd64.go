package modexp

import "golang.org/x/sys/cpu"

// available are the ways for 2048 bits, the fastest first. In the environment
// GODEBUG=cpu.avx512f=off turns the first one off, cpu.adx=off the second.
var available = func() (ways []Way) {
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512IFMA && cpu.X86.HasBMI2 {
		ways = append(ways, IFMA)
	}
	if cpu.X86.HasADX && cpu.X86.HasBMI2 {
		ways = append(ways, ADX)
	}
	return ways
}()

// multiplyIFMA makes out the Montgomery product a*b/R modulo n (Montgomery,
// "Modular multiplication without trial division", 1985), digit by digit: of Koç,
// Acar and Kaliski's methods (1996) the one they name CIOS. a and b must be below
// 2n; out is below 2n too, since R is more than 4n, and may be a or b itself.
// inverse is -1/n modulo 2^52.
//
//go:noescape
func multiplyIFMA(out, a, b, n *number, inverse uint64)

func (m *Modulus) multiply(out, a, b *number) {
	if m.way == IFMA {
		multiplyIFMA(out, a, b, &m.n, m.inverse)
	} else {
		m.multiplyWords(out, a, b)
	}
}

func (m *Modulus) squareOf(out, a *number) {
	if m.way == IFMA {
		multiplyIFMA(out, a, a, &m.n, m.inverse)
	} else {
		m.squareWords(out, a)
	}
}
