package replay

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// A record is the part of a window that survives a restart: a header of slotWords
// words and a ring. Each change of a word is copied to the state file, if there is
// one; the file is read only at start-up. The low 32 bits of a word are data. The
// high 32 bits are a checksum of the data and the word's place, so that each word
// shows on its own whether something else changed it, and an interrupted sequence
// of changes is not mistaken for damage. A word of the ring has one bit for each of
// 32 numbers, set when the number is spent.
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
type record struct {
	words []uint64
	ring  []uint64
	now   uint64 // the state
	file  *file  // has a copy of words; nil: memory only
	at    int    // offset of words in the file, in words

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

// store changes a word. Only store and setState change words.
func (r *record) store(i int, v uint64) {
	r.remember(i, v)
	r.file.put(r.at+i, r.words[i:i+1])
}

// remember changes a word in memory only.
func (r *record) remember(i int, v uint64) {
	if r.trace != nil {
		r.trace(i)
	}
	r.words[i] = v
}

// setHead sets the data bits of a word of the header.
func (r *record) setHead(i int, bits uint32) { r.store(i, sealed(headPlace+i, bits)) }

// setState changes the state.
func (r *record) setState(v uint64) {
	r.now = v
	for i := range 4 {
		place := wordState + i
		r.remember(place, sealed(headPlace+place, uint32(v>>(32*(1-i%2)))))
	}
	r.file.put(r.at+wordState, r.words[wordState:wordState+4])
}

func (r *record) empty() bool     { return r.now == stateEmpty }
func (r *record) highest() uint64 { return r.now - stateBase }

func keyPart(key Fingerprint, i int) uint32 { return binary.BigEndian.Uint32(key[4*i:]) }

// begin turns the words into an empty window for key. While they change, the state
// is none.
func (r *record) begin(key Fingerprint) {
	r.setState(stateNone)
	for i := range r.ring {
		r.store(slotWords+i, sealed(i, 0))
	}
	for i := range wordUnused - wordKey {
		r.setHead(wordKey+i, keyPart(key, i))
	}
	r.setState(stateEmpty)
}

// place returns where a number's bit is.
func (r *record) place(n uint64) (place int, bit uint32) {
	return int(n / blockBits & uint64(len(r.ring)-1)), 1 << (n % blockBits)
}

// set sets the data bits of a word of the ring.
func (r *record) set(place int, bits uint32) { r.store(slotWords+place, sealed(place, bits)) }

// load reads the state from words that come from a file and checks all of them:
// unused words are zero, the others match their checksums, and no number above the
// highest is spent.
func (r *record) load() (err error) {
	if r.now, err = readState(r.words); err != nil {
		return err
	}
	if r.now > stateBase+1<<63-1 {
		return fmt.Errorf("%w: its highest number is out of range", ErrDamaged)
	}
	for i := wordKey; i < wordUnused; i++ {
		if r.words[i] != sealed(headPlace+i, uint32(r.words[i])) {
			return fmt.Errorf("%w: the checksum of its key is wrong", ErrDamaged)
		}
	}
	for i, word := range r.ring {
		if word != sealed(i, uint32(word)) {
			return fmt.Errorf("%w: the checksum of its spent numbers is wrong", ErrDamaged)
		}
		if r.empty() && uint32(word) != 0 {
			return fmt.Errorf("%w: an empty window has spent numbers", ErrDamaged)
		}
	}
	for _, word := range r.words[wordUnused:slotWords] {
		if word != 0 {
			return fmt.Errorf("%w: unexpected bytes after its key", ErrDamaged)
		}
	}
	if r.now >= stateBase {
		place, _ := r.place(r.highest())
		if uint32(r.ring[place])>>(r.highest()%blockBits)>>1 != 0 {
			return fmt.Errorf("%w: numbers above the highest are spent", ErrDamaged)
		}
	}
	return nil
}
