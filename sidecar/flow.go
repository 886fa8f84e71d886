package sidecar

import (
	"sync/atomic"
	"time"
)

// sawBytes records when response bytes last arrived, on the monotonic clock. On the
// wall clock, a model server that hangs would seem alive for as long as that clock was
// set back. The zero value has seen none. It is safe for concurrent use.
type sawBytes struct {
	origin time.Time
	last   atomic.Int64 // nanoseconds from origin; 0: never
}

// at records that bytes arrived now, at most once a millisecond: if every piece were
// recorded, the processors would contend for the cache line.
func (s *sawBytes) at(now time.Time) {
	if since := int64(now.Sub(s.origin)); since-s.last.Load() > int64(time.Millisecond) {
		s.last.Store(since)
	}
}

// within reports whether bytes arrived less than d before now.
func (s *sawBytes) within(d time.Duration, now time.Time) bool {
	last := s.last.Load()
	return last > 0 && now.Sub(s.origin)-time.Duration(last) < d
}
