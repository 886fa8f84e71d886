package replay

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// A window keeps its lasting part in words, each change of which is copied to
// the state file, if there is one: a header of slotWords and a ring. Memory is
// what counts; the file is read at the start alone. Each word holds 32
// bits, and above them a check of those and of the word's place, so that a word
// that was changed by anybody else is known by itself, and a change that was
// stopped half-way is not taken for damage. A word of the ring has 32 numbers'
// bits, set when they are spent.
//
// Every change is a sequence of aligned 64-bit stores, ordered so that after any
// of them a reader of the file finds no spent number free, no free number
// spent, and nothing that looks damaged. A SIGKILL can stop the stores, but not
// undo or reorder them.
//
// The header's words: the state twice, each time its upper half and its lower
// one; the key. The state is 0 for no window, 1 for an empty one, h+2 for the
// highest number h. It changes by four stores, the first pair before the second;
// readState says what may be found on the way.
//
// The ring has at least one word more than the window needs. Moving the window
// up to n goes word by word: the word after the highest number's lies outside
// the window before and after the step, so it can be cleared while nobody looks
// at it; then the state moves into it. Only then may a bit of it be set. A jump
// further than the ring is long clears each word once that way, and then sets
// the state.
type window struct {
	words []uint64
	file  *file  // has a copy of words; nil: memory only
	at    int    // where in the file, words
	size  uint64 // of the window, numbers
	ring  []uint64
	now   uint64 // the state

	reserved map[uint64]struct{} // taken, not spent; in memory alone

	run     int    // of increasing numbers below the window
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

// headPlace is the place of the header's first word, above all of a ring's.
const headPlace = 1 << 30

const (
	stateNone  = 0
	stateEmpty = 1
	stateBase  = 2
)

const blockBits = 32

// ringBlocks is how many words a window's ring has: a power of two, so that a
// number's place is a mask away, with one to spare beyond a window that begins
// and ends inside a word.
func ringBlocks(size int) int {
	need := (uint64(size)+blockBits-1)/blockBits + 2
	return 1 << bits.Len64(need-1)
}

// mapWindow takes words as they are.
func mapWindow(cfg Config, words []uint64) *window {
	return &window{words: words, size: uint64(cfg.Window), ring: words[slotWords:], reserved: make(map[uint64]struct{})}
}

// store changes a word. It and setState are the only ways in which words are.
func (w *window) store(i int, v uint64) {
	w.remember(i, v)
	w.file.put(w.at+i, w.words[i:i+1])
}

// remember changes a word in memory alone.
func (w *window) remember(i int, v uint64) {
	if w.trace != nil {
		w.trace(i)
	}
	w.words[i] = v
}

// setHead replaces the bits of a word of the header.
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

// is reports whether the window is this key's.
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

// renew makes the words an empty window of key. While they are changed they are
// no window at all. Reservations of the old window find it gone.
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

// place is where a number's bit is.
func (w *window) place(n uint64) (place int, bit uint32) {
	return int(n / blockBits & uint64(len(w.ring)-1)), 1 << (n % blockBits)
}

// set replaces a place's bits.
func (w *window) set(place int, bits uint32) { w.store(slotWords+place, sealed(place, bits)) }

// spent looks a number up that is not stale.
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
		w.setState(n + stateBase) // the ring is clear
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

// forgetStale drops reservations that the window has left behind: what is stale
// is refused without them.
func (w *window) forgetStale() {
	for n := range w.reserved {
		if w.stale(n) {
			delete(w.reserved, n)
		}
	}
}

func (w *window) reserve(n uint64) { w.reserved[n] = struct{}{} }

// spend sets the number's bit. One that the window has left behind meanwhile is
// stale, and its bit another number's.
func (w *window) spend(n uint64) {
	if !w.stale(n) {
		place, bit := w.place(n)
		w.set(place, uint32(w.ring[place])|bit)
	}
	delete(w.reserved, n)
}

// unspend clears the bit that spend has set.
func (w *window) unspend(n uint64) {
	if !w.stale(n) {
		place, bit := w.place(n)
		w.set(place, uint32(w.ring[place])&^bit)
	}
}

func (w *window) release(n uint64) { delete(w.reserved, n) }

// restarts counts a verified number below the window and reports whether it ends
// a run of k. The same number again, which a client sends that tries again,
// neither counts nor ends the run.
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

// load takes the state from words that come from a file, and checks them all:
// those that are not used are clear, each other fits its check, and nothing
// above the highest number is spent.
func (w *window) load() (err error) {
	if w.now, err = readState(w.words); err != nil {
		return err
	}
	if w.now > stateBase+1<<63-1 {
		return fmt.Errorf("%w: its highest number is out of range", ErrDamaged)
	}
	for i := wordKey; i < wordUnused; i++ {
		if w.words[i] != sealed(headPlace+i, uint32(w.words[i])) {
			return fmt.Errorf("%w: its key fails its check", ErrDamaged)
		}
	}
	for i, word := range w.ring {
		if word != sealed(i, uint32(word)) {
			return fmt.Errorf("%w: spent numbers fail their check", ErrDamaged)
		}
		if w.empty() && uint32(word) != 0 {
			return fmt.Errorf("%w: an empty window has spent numbers", ErrDamaged)
		}
	}
	for _, word := range w.words[wordUnused:slotWords] {
		if word != 0 {
			return fmt.Errorf("%w: bytes where none belong", ErrDamaged)
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
