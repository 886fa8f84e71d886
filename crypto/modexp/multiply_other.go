//go:build !amd64

package modexp

const available = false

// multiply is never called: there is no Modulus.
func (*Modulus) multiply(_, _, _ *number) {}
