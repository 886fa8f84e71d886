package replay

import "maps"

// A window remembers which of the last numbers of one key are taken.
type window struct {
	record
	size     uint64              // in numbers
	reserved map[uint64]struct{} // taken, not spent; only in memory
	below    stragglers
}

// mapWindow makes a window over words, without reading them.
func mapWindow(cfg Config, words []uint64) *window {
	return newWindow(record{words: words, ring: words[slotWords:]}, uint64(cfg.Window))
}

func newWindow(r record, size uint64) *window {
	return &window{record: r, size: size, reserved: make(map[uint64]struct{})}
}

// renew starts an empty window for key in the memory of w. Reservations in w find
// it gone.
func (w *window) renew(key Fingerprint) *window {
	w.begin(key)
	return newWindow(w.record, w.size)
}

func (w *window) valid() bool { return w != nil && w.now != stateNone }

// is reports whether the window belongs to key.
func (w *window) is(key Fingerprint) bool {
	if !w.valid() {
		return false
	}
	for i, word := range w.words[wordKey:wordUnused] {
		if uint32(word) != keyPart(key, i) {
			return false
		}
	}
	return true
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
		// Numbers below the window are refused as stale anyway.
		maps.DeleteFunc(w.reserved, func(n uint64, _ struct{}) bool { return w.stale(n) })
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

// stragglers counts verified numbers below the window, to notice that numbering has
// restarted.
type stragglers struct {
	run  int // length of a run of rising numbers
	last uint64
}

// restart counts n and reports whether it completes a run of k. A repeated number,
// as from a client that retries, neither counts nor breaks the run.
func (s *stragglers) restart(n uint64, k int) bool {
	switch {
	case k == 0 || s.run > 0 && n == s.last:
		return false
	case s.run > 0 && n < s.last:
		s.run = 0
	}
	s.run++
	s.last = n
	return s.run >= k
}
