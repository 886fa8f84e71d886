package reorder

import "time"

// slots counts who is admitted, and for how long a slot was free.
type slots struct {
	limit     int // 0: none
	taken     int
	freeSince time.Duration // since when a slot is free, if one is
	freeTime  time.Duration // how long one was before that, in all
}

func (s *slots) free() bool { return s.limit == 0 || s.taken < s.limit }

// freeUntil returns for how long in all, until now, a slot was free.
func (s *slots) freeUntil(now time.Duration) time.Duration {
	if !s.free() {
		return s.freeTime
	}
	return s.freeTime + now - s.freeSince
}

// take takes a free slot.
func (s *slots) take(now time.Duration) {
	until := s.freeUntil(now)
	s.taken++
	if !s.free() {
		s.freeTime = until
	}
}

func (s *slots) giveBack(now time.Duration) {
	if !s.free() {
		s.freeSince = now
	}
	s.taken--
}

func (s *slots) resize(limit int, now time.Duration) {
	wasFree, until := s.free(), s.freeUntil(now)
	s.limit = limit
	switch {
	case wasFree && !s.free():
		s.freeTime = until
	case !wasFree && s.free():
		s.freeSince = now
	}
}
