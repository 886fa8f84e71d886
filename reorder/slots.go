package reorder

import "time"

// slots counts those admitted, and the time during which a slot was free.
type slots struct {
	limit     int // 0: no limit
	taken     int
	freeSince time.Duration // if a slot is free: since when
	freeTime  time.Duration // total time with a free slot, before freeSince
}

func (s *slots) free() bool { return s.limit == 0 || s.taken < s.limit }

// freeUntil returns the total time, until now, during which a slot was free.
func (s *slots) freeUntil(now time.Duration) time.Duration {
	if !s.free() {
		return s.freeTime
	}
	return s.freeTime + now - s.freeSince
}

// take takes a slot, one of which must be free.
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
