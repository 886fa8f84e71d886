package replay

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// A window remembers which of the last numbers of one key are taken.
//
// Its lasting part is words: a header of slotWords and a ring. Each change of a
// word is copied to the state file, if there is one; the file is read only at
// start-up. The low 32 bits of a word are data. The high 32 bits are a checksum of
// the data and the word's place, so that each word shows on its own whether
// something else changed it, and an interrupted sequence of changes is not mistaken
// for damage. A word of the ring has one bit for each of 32 numbers, set when the
// number is spent.
//
// Every change is a sequence of aligned 64-bit stores, ordered so that after each
// of them the file shows no spent number as free, no free number as spent, and
// nothing that looks damaged. A SIGKILL can interrupt the stores, but cannot undo
// or reorder them.
//
// The header holds the state twice, each time as its upper and its lower half, and
// the key. The state is 0 for no window, 1 for an empty one, h+2 for the highest
// number h. It changes by four stores, the first copy before the second; readState
// describes what may be found in between.
//
// The ring has at least one word more than the window needs. The window moves up
// word by word: the word after the highest number's lies outside the window both
// before and after the step, so it can be cleared while its bits mean nothing; then
// the state moves into it, and only then may its bits be set. A jump further than
// the ring is long clears each word once in this way, and then sets the state.
type window struct {
	words []uint64
	file  *file  // has a copy of words; nil: memory only
	at    int    // offset of words in the file, in words
	size  uint64 // in numbers
	ring  []uint64
	now   uint64 // the state

	reserved map[uint64]struct{} // taken, not spent; only in memory

	run     int    // length of a run of rising numbers below the window
	runLast uint64 // the last of them

	trace func(i int) // for tests: called before each store
}

// Words of a window's header.
const (
	wordState  = 0
	wordKey    = 4
	wordUnused = 12
	slotWords  = 16
)

// headPlace is the place, for the checksum, of the header's first word: above those
// of any ring.
const headPlace = 1 << 30

const (
	stateNone  = 0
	stateEmpty = 1
	stateBase  = 2
)

const blockBits = 32

// ringBlocks returns the number of words in a window's ring: a power of two, so
// that a mask gives a number's place, and at least one more than are touched by a
// window that begins and ends inside a word.
func ringBlocks(size int) int {
	need := (uint64(size)+blockBits-1)/blockBits + 2
	return 1 << bits.Len64(need-1)
}

// mapWindow makes a window over words, without reading them.
func mapWindow(cfg Config, words []uint64) *window {
	return &window{words: words, size: uint64(cfg.Window), ring: words[slotWords:], reserved: make(map[uint64]struct{})}
}

// store changes a word. Only store and setState change words.
func (w *window) store(i int, v uint64) {
	w.remember(i, v)
	w.file.put(w.at+i, w.words[i:i+1])
}

// remember changes a word in memory only.
func (w *window) remember(i int, v uint64) {
	if w.trace != nil {
		w.trace(i)
	}
	w.words[i] = v
}

// setHead sets the data bits of a word of the header.
func (w *window) setHead(i int, bits uint32) { w.store(i, sealed(headPlace+i, bits)) }

// setState changes the state.
func (w *window) setState(v uint64) {
	w.now = v
	for i := range 4 {
		place := wordState + i
		w.remember(place, sealed(headPlace+place, uint32(v>>(32*(1-i%2)))))
	}
	w.file.put(w.at+wordState, w.words[wordState:wordState+4])
}

func (w *window) valid() bool     { return w != nil && w.now != stateNone }
func (w *window) empty() bool     { return w.now == stateEmpty }
func (w *window) highest() uint64 { return w.now - stateBase }

// is reports whether the window belongs to key.
func (w *window) is(key Fingerprint) bool {
	if !w.valid() {
		return false
	}
	for i := range wordUnused - wordKey {
		if uint32(w.words[wordKey+i]) != keyPart(key, i) {
			return false
		}
	}
	return true
}

func keyPart(key Fingerprint, i int) uint32 { return binary.BigEndian.Uint32(key[4*i:]) }

// renew turns the words into an empty window for key and returns that. While they
// change, the state is none. Reservations in the old window find it gone.
func (w *window) renew(key Fingerprint) *window {
	w.setState(stateNone)
	for i := range w.ring {
		w.store(slotWords+i, sealed(i, 0))
	}
	for i := range wordUnused - wordKey {
		w.setHead(wordKey+i, keyPart(key, i))
	}
	w.setState(stateEmpty)
	return &window{
		words: w.words, file: w.file, at: w.at, size: w.size, ring: w.ring,
		now: stateEmpty, reserved: make(map[uint64]struct{}),
	}
}

// stale reports whether n is below the window.
func (w *window) stale(n uint64) bool {
	return !w.empty() && n+w.size <= w.highest()
}

func (w *window) check(n uint64) error {
	switch {
	case w.stale(n):
		return ErrStale
	case w.spent(n):
		return ErrReplayed
	}
	if _, taken := w.reserved[n]; taken {
		return ErrReplayed
	}
	return nil
}

// place returns where a number's bit is.
func (w *window) place(n uint64) (place int, bit uint32) {
	return int(n / blockBits & uint64(len(w.ring)-1)), 1 << (n % blockBits)
}

// set sets the data bits of a word of the ring.
func (w *window) set(place int, bits uint32) { w.store(slotWords+place, sealed(place, bits)) }

// spent reports whether a number, which must not be stale, is spent.
func (w *window) spent(n uint64) bool {
	if w.empty() || n > w.highest() {
		return false
	}
	place, bit := w.place(n)
	return uint32(w.ring[place])&bit != 0
}

// advance moves the window up to n, if n is above it.
func (w *window) advance(n uint64) {
	if w.empty() {
		w.setState(n + stateBase) // an empty window's ring is clear
		return
	}
	if n <= w.highest() {
		return
	}
	last := n / blockBits
	for steps := 0; w.highest()/blockBits < last && steps < len(w.ring); steps++ {
		next := (w.highest()/blockBits + 1) * blockBits
		place, _ := w.place(next)
		w.set(place, 0)
		w.setState(min(n, next) + stateBase)
	}
	if w.highest() < n {
		w.setState(n + stateBase)
	}
	if uint64(len(w.reserved)) > w.size {
		w.forgetStale()
	}
}

// forgetStale drops reservations that have fallen below the window: their numbers
// are refused as stale anyway.
func (w *window) forgetStale() {
	for n := range w.reserved {
		if w.stale(n) {
			delete(w.reserved, n)
		}
	}
}

func (w *window) reserve(n uint64) { w.reserved[n] = struct{}{} }

// spend sets the number's bit, unless the number has fallen below the window: then
// the bit belongs to another number.
func (w *window) spend(n uint64) {
	if !w.stale(n) {
		place, bit := w.place(n)
		w.set(place, uint32(w.ring[place])|bit)
	}
	delete(w.reserved, n)
}

// unspend clears the bit that spend set.
func (w *window) unspend(n uint64) {
	if !w.stale(n) {
		place, bit := w.place(n)
		w.set(place, uint32(w.ring[place])&^bit)
	}
}

func (w *window) release(n uint64) { delete(w.reserved, n) }

// restarts counts a verified number below the window and reports whether it
// completes a run of k. A repeated number, as from a client that retries, neither
// counts nor breaks the run.
func (w *window) restarts(n uint64, k int) bool {
	switch {
	case k == 0 || w.run > 0 && n == w.runLast:
		return false
	case w.run > 0 && n < w.runLast:
		w.run = 0
	}
	w.run++
	w.runLast = n
	return w.run >= k
}

// load reads the state from words that come from a file and checks all of them:
// unused words are zero, the others match their checksums, and no number above the
// highest is spent.
func (w *window) load() (err error) {
	if w.now, err = readState(w.words); err != nil {
		return err
	}
	if w.now > stateBase+1<<63-1 {
		return fmt.Errorf("%w: its highest number is out of range", ErrDamaged)
	}
	for i := wordKey; i < wordUnused; i++ {
		if w.words[i] != sealed(headPlace+i, uint32(w.words[i])) {
			return fmt.Errorf("%w: the checksum of its key is wrong", ErrDamaged)
		}
	}
	for i, word := range w.ring {
		if word != sealed(i, uint32(word)) {
			return fmt.Errorf("%w: the checksum of its spent numbers is wrong", ErrDamaged)
		}
		if w.empty() && uint32(word) != 0 {
			return fmt.Errorf("%w: an empty window has spent numbers", ErrDamaged)
		}
	}
	for _, word := range w.words[wordUnused:slotWords] {
		if word != 0 {
			return fmt.Errorf("%w: unexpected bytes after its key", ErrDamaged)
		}
	}
	if w.valid() && !w.empty() {
		place, _ := w.place(w.highest())
		if uint32(w.ring[place])>>(w.highest()%blockBits)>>1 != 0 {
			return fmt.Errorf("%w: numbers above the highest are spent", ErrDamaged)
		}
	}
	return nil
}
