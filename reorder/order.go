package reorder

import (
	"math"
	"time"
)

// note takes down that number n came.
func (s *sequencer) note(n int64, now time.Duration) {
	if s.fresh {
		s.fresh, s.expected, s.highestSeen = false, n, n-1
	}
	switch {
	case n < s.expected:
		s.stats.Late++
	case n > s.highestSeen:
		opened := uint64(n - s.highestSeen - 1)
		s.stats.GapsOpened += opened
		s.missing += opened
		s.highestSeen = n
	case s.missing > 0 && !s.seen.has(n, s.expected):
		s.stats.GapsFilled++
		s.missing--
	}
	s.seen.add(n, s.expected)
	s.estimator.arrived(n, now)
}

// holdFor returns how long a newcomer is held with a slot free. One that could
// not wait is not held.
func (s *sequencer) holdFor(r Request, now time.Duration) time.Duration {
	if r.Unordered || r.Number <= s.expected || s.cfg.Capacity == 0 || r.Bytes > s.cfg.Bytes {
		return 0
	}
	return s.boundedHold(now)
}

func (s *sequencer) boundedHold(now time.Duration) time.Duration {
	return max(0, min(s.estimator.hold(now), s.cfg.Timeout))
}

// rank returns a newcomer's place among those that wait. One without a number
// goes behind all that are there before it. If it went by the expected number, a
// stream of its kind would keep out for ever those behind a gap; as it is, only
// the numbers still missing below its rank can pass it, and they are finite.
func (s *sequencer) rank(r Request) int64 {
	switch {
	case !r.Unordered:
		return r.Number
	case s.highest.len() == 0:
		return s.expected
	}
	return max(s.expected, ^s.highest.entries[0].key)
}

// skip lets expected pass the numbers that came and left without a slot. A
// waiter that is not above expected may have that very number.
func (s *sequencer) skip() {
	for s.seen.has(s.expected, s.expected) &&
		(s.lowest.len() == 0 || s.lowest.entries[0].key > s.expected) {
		s.pass(s.expected)
	}
}

// pass moves expected beyond n and gives up what is missing below.
func (s *sequencer) pass(n int64) {
	came := s.seen.forget(s.expected, n)
	givenUp := min(uint64(n-s.expected)-came, s.missing)
	s.missing -= givenUp
	s.stats.GapsGivenUp += givenUp
	s.seen.remove(n)
	s.expected = next(n)
}

func next(n int64) int64 { return n + min(1, math.MaxInt64-n) }

// free reports whether a slot is free.
func (s *sequencer) free() bool { return s.cfg.Slots == 0 || s.inFlight < s.cfg.Slots }

// freeUntil returns for how long in all, until now, a slot was free.
func (s *sequencer) freeUntil(now time.Duration) time.Duration {
	if !s.free() {
		return s.freeTime
	}
	return s.freeTime + now - s.freeSince
}

// occupy gives r a free slot.
func (s *sequencer) occupy(r Request, now time.Duration) {
	until := s.freeUntil(now)
	s.inFlight++
	if !s.free() {
		s.freeTime = until
	}
	s.stats.Admitted++
	if r.Unordered {
		return
	}
	reordered := r.Number < s.highestGone
	if reordered {
		s.stats.Reordered++
	} else {
		s.highestGone = r.Number
	}
	s.recently.count(reordered, now)
	if r.Number >= s.expected {
		s.pass(r.Number)
	}
}
