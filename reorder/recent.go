package reorder

import "math/bits"

// remembered is how many numbers, from the expected one on, a recent set covers: as
// many as the default replay window. Numbers further ahead are not remembered, which
// at worst makes others be held in vain.
const remembered = 8192

// A recent is the set of numbers in [first, first+remembered) that came, one bit
// each, in a ring as in RFC 6479. The caller keeps first. The zero value is empty.
type recent [remembered / 64]uint64

// add inserts n, if it is in the range.
func (r *recent) add(n, first int64) {
	if uint64(n-first) < remembered {
		r[n%remembered/64] |= 1 << (n % 64)
	}
}

// remove removes n.
func (r *recent) remove(n int64) { r[n%remembered/64] &^= 1 << (n % 64) }

// has reports whether n is in the set.
func (r *recent) has(n, first int64) bool {
	return uint64(n-first) < remembered && r[n%remembered/64]&(1<<(n%64)) != 0
}

// forget removes the numbers in [from, to) and returns how many there were; from
// must be the first number of the range.
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
