package envelope

import "golang.org/x/sys/cpu"

// hasBlocks reports whether passBlocks may be called: AVX2 is in every processor
// for servers since 2015.
var hasBlocks = cpu.X86.HasAVX2

// passBlocks returns how many bytes at the beginning of b, which is inside of a
// string, need no look: whole blocks of 32 bytes that hold no end of the string,
// no control byte and no escape but those of two bytes, none of them of a
// backslash. It never ends within an escape.
//
//go:noescape
func passBlocks(b []byte) int
