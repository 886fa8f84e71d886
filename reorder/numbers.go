package reorder

import (
	"math"
	"time"
)

// numbers records which numbers of a series came and which were admitted.
type numbers struct {
	*tally
	fresh       bool  // the next number is the first of its series
	expected    int64 // the lowest that neither came nor was passed over; saturates at 2^63-1
	highestSeen int64 // expected-1 or above
	highestGone int64 // the highest that was admitted; -1: none yet
	seen        recent
	missing     uint64 // numbers from expected to highestSeen that have not come
}

// A tally counts what became of the numbers of all series.
type tally struct {
	late, reordered         uint64 // as in Stats
	opened, filled, givenUp uint64 // gaps, as in Stats
	recently                share
}

func newNumbers(t *tally) numbers {
	return numbers{tally: t, fresh: true, highestSeen: -1, highestGone: -1}
}

// came records that number n came.
func (s *numbers) came(n int64) {
	if s.fresh {
		s.fresh, s.expected, s.highestSeen = false, n, n-1
	}
	switch {
	case n < s.expected:
		s.late++
	case n > s.highestSeen:
		opened := uint64(n - s.highestSeen - 1)
		s.opened += opened
		s.missing += opened
		s.highestSeen = n
	case s.missing > 0 && !s.seen.has(n, s.expected):
		s.filled++
		s.missing--
	}
	s.seen.add(n, s.expected)
}

// admitted records that the request with number n got a slot.
func (s *numbers) admitted(n int64, now time.Duration) {
	reordered := n < s.highestGone
	if reordered {
		s.reordered++
	} else {
		s.highestGone = n
	}
	s.recently.count(reordered, now)
	if n >= s.expected {
		s.pass(n)
	}
}

// expectedCame reports whether the expected number has come.
func (s *numbers) expectedCame() bool { return s.seen.has(s.expected, s.expected) }

// pass moves expected beyond n and gives up the numbers still missing below.
func (s *numbers) pass(n int64) {
	came := s.seen.forget(s.expected, n)
	givenUp := min(uint64(n-s.expected)-came, s.missing)
	s.missing -= givenUp
	s.givenUp += givenUp
	s.seen.remove(n)
	s.expected = n + min(1, math.MaxInt64-n)
}

// restart begins anew, at any number.
func (s *numbers) restart() {
	s.givenUp += s.missing
	s.fresh, s.expected, s.highestSeen, s.highestGone, s.missing = true, 0, -1, -1, 0
	s.seen = recent{}
}
