package replay

import "fmt"

// blank fills words so that they hold no window.
func blank(words []uint64) {
	clear(words[:slotWords])
	for i := range wordUnused {
		words[i] = sealed(headPlace+i, 0) // stateNone, and no key
	}
	for i := range words[slotWords:] {
		words[slotWords+i] = sealed(i, 0)
	}
}

// check mixes the bits of v (the finaliser of splitmix64). It protects against
// accidents, not against malice.
func check(v uint64) uint64 {
	v += 0x9e3779b97f4a7c15
	v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
	v = (v ^ v>>27) * 0x94d049bb133111eb
	return v ^ v>>31
}

// sealed returns a word: its data bits, and above them the checksum of the bits and
// the place.
func sealed(place int, bits uint32) uint64 {
	return check(uint64(place)<<32|uint64(bits))&^0xffffffff | uint64(bits)
}

// readState reads the state, which is the old or the new one after any of
// setState's stores. A copy is half old and half new only after the first store,
// when the second copy is still the old one, and after the third, when the first
// copy is already the new one.
func readState(words []uint64) (uint64, error) {
	var half [4]uint32
	for i := range half {
		half[i] = uint32(words[wordState+i])
		if words[wordState+i] != sealed(headPlace+wordState+i, half[i]) {
			return 0, fmt.Errorf("%w: the checksum of its highest number is wrong", ErrDamaged)
		}
	}
	first, second := half[:2], half[2:]
	if first[0] != second[0] && first[1] == second[1] {
		first = second
	}
	return uint64(first[0])<<32 | uint64(first[1]), nil
}
