package sidecar

import (
	"sync/atomic"
	"time"
)

// sawBytes records when response bytes last came, on the monotonic clock. With the
// wall clock, a hanging model server would seem to answer for as long as that clock
// was set back. The zero value has seen none. Safe for concurrent use.
type sawBytes struct {
	origin time.Time
	last   atomic.Int64 // nanoseconds from origin; 0: never
}

// at records that bytes came now, but only once a millisecond: a store for every
// piece would make the processors contend for the cache line.
func (s *sawBytes) at(now time.Time) {
	if since := int64(now.Sub(s.origin)); since-s.last.Load() > int64(time.Millisecond) {
		s.last.Store(since)
	}
}

// within reports whether bytes came no longer than d before now.
func (s *sawBytes) within(d time.Duration, now time.Time) bool {
	last := s.last.Load()
	return last > 0 && now.Sub(s.origin)-time.Duration(last) < d
}
