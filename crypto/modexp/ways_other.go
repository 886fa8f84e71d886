//go:build !amd64 && !arm64

package modexp

var available []Way

// multiply and squareOf are never called: Portable has its own.
func (*Modulus) multiply(_, _, _ *number) {}

func (*Modulus) squareOf(_, _ *number) {}
