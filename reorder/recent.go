package reorder

import "math/bits"

// remembered is how many numbers, from the expected one on, a recent set spans:
// as many as the usual replay window. What lies further ahead is not remembered,
// which can cost others a hold but never more.
const remembered = 8192

// A recent is a set of the numbers in [first, first+remembered) that came, a bit
// each, in a ring (as in RFC 6479). The caller keeps first. The zero value is
// empty.
type recent [remembered / 64]uint64

// add puts n in, if it is in reach.
func (r *recent) add(n, first int64) {
	if uint64(n-first) < remembered {
		r[n%remembered/64] |= 1 << (n % 64)
	}
}

// remove takes n out.
func (r *recent) remove(n int64) { r[n%remembered/64] &^= 1 << (n % 64) }

// has reports whether n is in.
func (r *recent) has(n, first int64) bool {
	return uint64(n-first) < remembered && r[n%remembered/64]&(1<<(n%64)) != 0
}

// forget takes out the numbers in [from, to), of which from is the first one
// spanned, and returns how many there were.
func (r *recent) forget(from, to int64) (n uint64) {
	to = from + min(to-from, remembered) // no overflow: at most the old to
	for from < to {
		word, bit := from%remembered/64, from%64
		run := min(64-bit, to-from)
		mask := ^uint64(0) >> (64 - run) << bit
		n += uint64(bits.OnesCount64(r[word] & mask))
		r[word] &^= mask
		from += run
	}
	return n
}
