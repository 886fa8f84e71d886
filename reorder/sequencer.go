package reorder

import (
	"math"
	"time"
)

// A sequencer decides who goes when. It is a pure state machine: times are arguments
// (monotonic, since some fixed moment), and the caller takes those whom it admitted
// or refused from settled, in the order in which that happened. It is not safe for
// concurrent use.
//
// Whenever a method returns and a slot is free, all waiters are held: each is above
// the expected number, and no hold has ended. This guarantees progress; every method
// runs pump last to ensure it.
type sequencer struct {
	timeout   time.Duration // longest wait
	estimator estimator
	now       time.Duration // the latest time seen
	admission
}

func newSequencer(cfg Config, e estimator, alloc func() *waiter) *sequencer {
	s := &sequencer{
		timeout: cfg.Timeout, estimator: e,
		admission: admission{alloc: alloc, slots: slots{limit: cfg.Slots}, queue: newQueue(cfg.Capacity, cfg.Bytes)},
	}
	s.roll.init()
	return s
}

// arrive handles a new request. The verdict is admitted, full or waiting. There is a
// waiter only with waiting; it may already have been settled, and is then among the
// settled.
func (s *sequencer) arrive(r Request, now time.Duration) (*waiter, verdict) {
	now = s.advance(now)
	r.Bytes = max(r.Bytes, 0)
	r.Unordered = r.Unordered || r.Number < 0
	in := s.roll.last
	if !r.Unordered {
		in = s.came(r.Series, r.Number, now)
	}
	var hold time.Duration
	if s.slots.free() && !r.Unordered {
		if r.Number > in.numbers.expected && s.queue.admits(r.Bytes) {
			hold = s.hold(now)
		}
		if hold <= 0 {
			s.admitBelow(in, r.Number, now)
		}
	}
	if s.slots.free() && hold <= 0 {
		w, v := s.follow(r, now)
		s.occupy(r, in, now)
		s.pump(now)
		return w, v
	}
	rank := s.queue.rank(r, in)
	if !s.queue.canMakeRoom(rank, r.Bytes) {
		s.counters.RefusedFull++
		s.pump(now)
		return nil, full
	}
	for !s.queue.fits(r.Bytes) {
		s.counters.RefusedFull++
		s.settle(s.queue.highest.entries[0].w, full, now)
	}
	w := s.alloc()
	*w = waiter{
		ready: w.ready, request: r,
		since: now, sinceOff: s.slots.freeUntil(now), deadline: later(now, s.timeout),
	}
	w.series, w.rank, w.due = in, rank, hold <= 0
	if !w.due {
		s.counters.HeldTotal++
	}
	s.queue.push(w, later(now, hold))
	s.pump(now)
	return w, waiting
}

// release takes a slot back.
func (s *sequencer) release(now time.Duration) {
	now = s.advance(now)
	s.slots.giveBack(now)
	if s.queue.len() > 0 {
		s.pump(now)
	}
}

// passOver records a number whose request needs no slot.
func (s *sequencer) passOver(in Series, n int64, now time.Duration) {
	now = s.advance(now)
	s.came(in, n, now)
	s.pump(now)
}

// came records a number, and returns its series.
func (s *sequencer) came(name Series, n int64, now time.Duration) *series {
	in := s.roll.use(name)
	s.roll.came(in, n)
	s.estimator.arrived(&in.lateness, n, now)
	return in
}

// leave removes a waiter whose context ended. It reports false, and does nothing, if
// w was already settled.
func (s *sequencer) leave(w *waiter, now time.Duration) bool {
	now = s.advance(now)
	if w.verdict != waiting {
		return false
	}
	s.queue.remove(w)
	w.end(left, s.slots.freeUntil(now), now)
	s.counters.Cancelled++
	s.pump(now)
	return true
}

// resize changes how many may be admitted at once; 0: no limit. If fewer slots exist
// than are taken, none is free until enough have been given back; held requests keep
// their holds, as when all slots are taken.
func (s *sequencer) resize(limit int, now time.Duration) {
	now = s.advance(now)
	s.slots.resize(limit, now)
	s.pump(now)
}

// restart begins a series anew. Those that wait, in any series, keep their order and go
// before all of it.
func (s *sequencer) restart(name Series, now time.Duration) {
	now = s.advance(now)
	s.queue.forgetNumbers(s.roll.restart(name))
	s.pump(now)
}

// wake returns the latest time at which advance must be called; never if there is
// none. A hold that ends while no slot is free changes nothing until release.
func (s *sequencer) wake() time.Duration {
	if s.queue.arrivals.first == nil {
		return never
	}
	at := s.queue.arrivals.first.deadline
	if s.slots.free() {
		at = min(at, s.queue.nextHold())
	}
	return at
}

func (s *sequencer) snapshot(now time.Duration) Stats {
	st := s.counters
	st.Slots, st.InFlight = s.slots.limit, s.slots.taken
	st.Waiting, st.WaitingBytes = s.queue.len(), s.queue.bytes
	if s.slots.free() {
		st.Held = st.Waiting
	}
	n := &s.roll.tally
	st.Expected, st.Late, st.Reordered = s.roll.last.numbers.expected, n.late, n.reordered
	st.GapsOpened, st.GapsFilled, st.GapsGivenUp = n.opened, n.filled, n.givenUp
	st.RecentAdmitted, st.RecentReordered = n.recently.sum(max(now, s.now))
	if s.queue.capacity > 0 {
		st.Hold = s.hold(now)
	}
	return st
}

// advance moves time forward and does what has become due. Time never goes back: of
// two callers, the one that read the clock first may come second. Holds come before
// timeouts, so that a request that may go does not time out because the timer was
// late.
func (s *sequencer) advance(now time.Duration) time.Duration {
	now = max(now, s.now)
	s.now = now
	if s.queue.len() == 0 {
		return now
	}
	if s.queue.nextHold() <= now {
		s.queue.endHolds(now)
		s.pump(now)
	}
	first := s.queue.arrivals.first
	if first == nil || first.deadline > now {
		return now
	}
	for ; first != nil && first.deadline <= now; first = s.queue.arrivals.first {
		s.counters.TimedOut++
		s.settle(first, timedOut, now)
	}
	s.pump(now)
	return now
}

// hold returns how long a request ahead of a gap is held.
func (s *sequencer) hold(now time.Duration) time.Duration {
	return max(0, min(s.estimator.hold(now), s.timeout))
}

func later(now, d time.Duration) time.Duration { return now + min(d, math.MaxInt64-now) }
