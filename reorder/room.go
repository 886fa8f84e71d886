package reorder

import (
	"math"
	"time"
)

// makeRoom refuses those with the highest ranks, as few as necessary, so that a
// newcomer may wait; or nobody, if the newcomer's rank is among the highest or
// it does not fit even so. Of equal ranks the newcomer's is the higher.
//
// Looking for the bytes takes a step for each waiter above the newcomer, but
// they cannot be many: all of them together have fewer bytes than it has alone.
func (s *sequencer) makeRoom(rank, bytes int64, now time.Duration) bool {
	if s.cfg.Capacity == 0 || bytes > s.cfg.Bytes {
		return false
	}
	fits := func() bool {
		return s.lowest.len() < s.cfg.Capacity && bytes <= s.cfg.Bytes-s.bytes
	}
	if fits() {
		return true
	}
	if s.lowest.len() == 0 || s.highest.entries[0].key >= ^rank {
		return false
	}
	if lacking := bytes - (s.cfg.Bytes - s.bytes); lacking > 0 &&
		s.highest.bytesBelow(0, ^rank, lacking) < lacking {
		return false
	}
	for !fits() {
		w := s.highest.entries[0].w
		s.remove(w)
		s.stats.RefusedFull++
		s.settle(w, full, now)
	}
	return true
}

func (s *sequencer) enqueue(r Request, rank int64, hold, now time.Duration) *waiter {
	s.count++
	w := s.alloc()
	*w = waiter{
		ready: w.ready, request: r, rank: rank, arrival: s.count, due: hold <= 0,
		since: now, sinceOff: s.freeUntil(now), deadline: later(now, s.cfg.Timeout),
	}
	s.lowest.push(w, rank, w.arrival)
	s.highest.push(w, ^rank, -w.arrival)
	s.arrivals.append(w)
	s.bytes += r.Bytes
	if w.due {
		s.due++
	} else {
		s.stats.HeldTotal++
		s.holds.push(w, int64(later(now, hold)), w.arrival)
	}
	return w
}

func (s *sequencer) remove(w *waiter) {
	s.lowest.remove(w)
	s.highest.remove(w)
	s.arrivals.remove(w)
	s.bytes -= w.request.Bytes
	if w.due {
		s.due--
	} else {
		s.holds.remove(w)
	}
}

func (s *sequencer) settle(w *waiter, v verdict, now time.Duration) {
	w.end(v, s.freeUntil(now), now)
	if s.lastSettled == nil {
		s.settled = w
	} else {
		s.lastSettled.nextSettled = w
	}
	s.lastSettled = w
}

func later(now, d time.Duration) time.Duration { return now + min(d, math.MaxInt64-now) }
