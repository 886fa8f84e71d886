package reorder

import "math"

// A Series names a numbering, for example by the key under which its numbers are signed.
// Numbers are compared only within a series.
type Series uint64

// mostSeries is how many series are remembered. Beyond that the one that was unused for
// longest is forgotten, if nobody waits in it.
const mostSeries = 16

// A series is what is known of a Series: its numbers, and who waits in it.
//
// Series share the slots fairly, as in start-time fair queueing (Goyal, Vin, Cheng 1996):
// each number has a rank, which is the number plus the shift of its series, and the lowest
// rank goes first. A series begins at the rank that goes now, and one in which nobody
// waited is brought up to it: it neither waits for what the others have had before, nor
// makes up for what it did not use.
type series struct {
	name     Series
	named    bool
	numbers  numbers
	lateness lateness

	shift  int64
	placed bool  // the shift is set
	used   int64 // when it became the one used last, as roll.uses

	lowest heap // of its waiters
	due    int  // how many of them are due
}

func newSeries(t *tally) *series {
	return &series{numbers: newNumbers(t), lowest: heap{which: byRank}}
}

// rank returns the rank of number n. It saturates, below at 0: negative ranks are of
// those that wait from before a restart.
func (s *series) rank(n int64) int64 {
	switch r := n + s.shift; {
	case r >= 0:
		return r
	case s.shift > 0:
		return math.MaxInt64
	}
	return 0
}

// restart begins the series anew, at any number.
func (s *series) restart() {
	s.numbers.restart()
	s.lateness.restart()
	s.unplace()
}

func (s *series) unplace() { s.shift, s.placed = 0, false }

// advance moves the expected number past those that came and left without a slot, but not
// past a waiter, whose number it may be. It reports whether the lowest waiter needs only a
// slot: it is not above the expected number, or a waiter is due, which is either the
// lowest itself, or above it and may not pass it.
func (s *series) advance() (mayGo bool) {
	if len(s.lowest.entries) == 0 {
		for s.numbers.expectedCame() {
			s.numbers.pass(s.numbers.expected)
		}
		return false
	}
	// The shift is that of all waiters: it changes only when there are none.
	lowest := s.lowest.entries[0].key
	for lowest > s.rank(s.numbers.expected) {
		if !s.numbers.expectedCame() {
			return s.due > 0
		}
		s.numbers.pass(s.numbers.expected)
	}
	return true
}

// A roll is all series that are remembered.
type roll struct {
	tally tally
	list  []*series
	last  *series // the one used last, which those without a number join
	front int64   // the highest rank that went, or at which a series began; -1: none
	uses  int64   // how often another one became the last
}

// init begins with one series, whose name is not known yet.
func (r *roll) init() {
	r.front = -1
	r.last = newSeries(&r.tally)
	r.list = []*series{r.last}
}

// use returns the series with a name, which was used last from now on.
func (r *roll) use(name Series) *series {
	if r.last.name != name || !r.last.named {
		r.last = r.find(name)
		r.uses++
		r.last.used = r.uses
	}
	return r.last
}

func (r *roll) find(name Series) *series {
	for _, s := range r.list {
		if s.named && s.name == name {
			return s
		}
	}
	s := r.list[0]
	if s.named {
		r.forget()
		s = newSeries(&r.tally)
		r.list = append(r.list, s)
	}
	s.name, s.named = name, true
	return s
}

// forget makes room for one more series.
func (r *roll) forget() {
	if len(r.list) < mostSeries {
		return
	}
	oldest := -1
	for i, s := range r.list {
		if s.lowest.len() == 0 && (oldest < 0 || s.used < r.list[oldest].used) {
			oldest = i
		}
	}
	if oldest >= 0 {
		r.list[oldest].numbers.restart()
		r.list = append(r.list[:oldest], r.list[oldest+1:]...)
	}
}

// restart begins a series anew. Ranks begin anew, too, if there is no other series, or
// they come near their end.
func (r *roll) restart(name Series) *series {
	s := r.use(name)
	s.restart()
	if len(r.list) == 1 || r.front > math.MaxInt64/2 {
		r.front = -1
		for _, s := range r.list {
			s.unplace()
		}
	}
	return s
}

// came records that a number of s came, and gives it a place among the series.
func (r *roll) came(s *series, n int64) {
	s.numbers.came(n)
	switch {
	case !s.placed && r.front < 0:
		r.front = n
	case !s.placed, s.lowest.len() == 0 && n >= s.numbers.expected && s.rank(n) < r.front:
		s.shift = r.front - n
	}
	s.placed = true
}

// went records that a number of s got a slot.
func (r *roll) went(s *series, n int64) { r.front = max(r.front, s.rank(n)) }

// next advances each series, and returns the one whose lowest waiter goes next; nil if
// none may.
func (r *roll) next() (next *series) {
	for _, s := range r.list {
		if s.advance() && (next == nil || s.lowest.entries[0].before(&next.lowest.entries[0])) {
			next = s
		}
	}
	return next
}
