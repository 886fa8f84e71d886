package modexp

import "golang.org/x/sys/cpu"

// GODEBUG=cpu.avx512f=off in the environment turns it off.
var available = cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512IFMA && cpu.X86.HasBMI2

// multiply makes out the Montgomery product a*b/R modulo n (Montgomery, "Modular
// multiplication without trial division", 1985), digit by digit: of Koç, Acar and
// Kaliski's methods (1996) the one they name CIOS. a and b must be below 2n; out
// is below 2n too, since R is more than 4n, and may be a or b itself. inverse is
// -1/n modulo 2^52.
//
//go:noescape
func multiply(out, a, b, n *number, inverse uint64)

func (m *Modulus) multiply(out, a, b *number) { multiply(out, a, b, &m.n, m.inverse) }
