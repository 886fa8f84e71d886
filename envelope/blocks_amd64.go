package envelope

import "golang.org/x/sys/cpu"

// hasBlocks reports whether passBlocks may be called. Every server processor since
// 2015 has AVX2.
var hasBlocks = cpu.X86.HasAVX2

// passBlocks returns how many bytes at the start of b, which lies inside a JSON
// string, can be skipped: whole blocks of 32 bytes without a closing quote, a
// control byte, a \u escape or an escaped backslash. It never stops in the middle
// of an escape.
//
//go:noescape
func passBlocks(b []byte) int
