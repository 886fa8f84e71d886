package sidecar

import (
	"sync/atomic"
	"time"
)

// sawBytes is when response bytes last came. It runs on the monotonic clock: by
// the wall clock, a model server that hangs would pass for one that answers for
// as long as that clock was set back. The zero value has seen none. Safe for
// concurrent use.
type sawBytes struct {
	origin time.Time
	last   atomic.Int64 // nanoseconds from origin; 0: never
}

// at notes bytes that came now. Only every millisecond: a store for each would
// take the word away from the other processors.
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
