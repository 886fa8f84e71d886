package reorder

import (
	"math"
	"time"
)

// A verdict is what became of a request.
type verdict uint8

const (
	waiting verdict = iota
	admitted
	full
	timedOut
	left
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
	alloc     func() *waiter

	now      time.Duration // the latest moment seen
	slots    slots
	numbers  numbers
	queue    queue
	settled  list
	counters Stats // counters that are kept nowhere else; snapshot adds the rest
}

func newSequencer(cfg Config, e estimator, alloc func() *waiter) *sequencer {
	return &sequencer{
		timeout: cfg.Timeout, estimator: e, alloc: alloc,
		slots: slots{limit: cfg.Slots}, numbers: newNumbers(), queue: newQueue(cfg.Capacity, cfg.Bytes),
	}
}

// arrive handles a new request. The verdict is admitted, full or waiting. There is a
// waiter only with waiting; it may already have been settled, and is then among the
// settled.
func (s *sequencer) arrive(r Request, now time.Duration) (*waiter, verdict) {
	now = s.advance(now)
	r.Bytes = max(r.Bytes, 0)
	r.Unordered = r.Unordered || r.Number < 0
	if !r.Unordered {
		s.numbers.came(r.Number)
		s.estimator.arrived(r.Number, now)
	}
	var hold time.Duration
	if s.slots.free() {
		if !r.Unordered && r.Number > s.numbers.expected && s.queue.admits(r.Bytes) {
			hold = s.hold(now)
		}
		if hold <= 0 {
			s.admitBelow(r, now)
		}
	}
	if s.slots.free() && hold <= 0 {
		w, v := s.follow(r, now)
		s.occupy(r, now)
		s.pump(now)
		return w, v
	}
	rank := s.queue.rank(r, s.numbers.expected)
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
		ready: w.ready, request: r, rank: rank, due: hold <= 0,
		since: now, sinceOff: s.slots.freeUntil(now), deadline: later(now, s.timeout),
	}
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
	s.pump(now)
}

// passOver records a number whose request needs no slot.
func (s *sequencer) passOver(n int64, now time.Duration) {
	now = s.advance(now)
	s.numbers.came(n)
	s.estimator.arrived(n, now)
	s.pump(now)
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

// restart begins a new series of numbers. Those that wait keep their order and go
// before all of it.
func (s *sequencer) restart(now time.Duration) {
	now = s.advance(now)
	s.estimator.restart(now)
	s.numbers.restart()
	s.queue.forgetNumbers()
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
	n := &s.numbers
	st.Expected, st.Late, st.Reordered = n.expected, n.late, n.reordered
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
	}
	s.pump(now)
	for w := s.queue.arrivals.first; w != nil && w.deadline <= now; w = s.queue.arrivals.first {
		s.counters.TimedOut++
		s.settle(w, timedOut, now)
	}
	s.pump(now)
	return now
}

// hold returns how long a request ahead of a gap is held.
func (s *sequencer) hold(now time.Duration) time.Duration {
	return max(0, min(s.estimator.hold(now), s.timeout))
}

// pump admits all that may go. While a slot is free, the lowest waiter goes if it is
// not above the expected number, or if any waiter is due: that one is either the
// lowest itself, or above it and may not pass it. Before that, pump moves expected
// past numbers that came and left without a slot, but not past a waiter, whose
// number it may be.
func (s *sequencer) pump(now time.Duration) {
	for {
		rank, ok := s.queue.nextRank()
		for s.numbers.expectedCame() && !(ok && rank <= s.numbers.expected) {
			s.numbers.pass(s.numbers.expected)
		}
		if !ok || !s.slots.free() || rank > s.numbers.expected && s.queue.due == 0 {
			return
		}
		s.settle(s.queue.lowest.entries[0].w, admitted, now)
	}
}

// admitBelow admits the waiters that must go before r, which itself is not held:
// those with a lower number or the same.
func (s *sequencer) admitBelow(r Request, now time.Duration) {
	for !r.Unordered && s.slots.free() {
		rank, ok := s.queue.nextRank()
		if !ok || rank > r.Number {
			return
		}
		s.settle(s.queue.lowest.entries[0].w, admitted, now)
	}
}

// follow puts a newcomer that is admitted behind those that were settled earlier in
// the same step. It returns a waiter if there are any.
func (s *sequencer) follow(r Request, now time.Duration) (*waiter, verdict) {
	if s.settled.first == nil {
		return nil, admitted
	}
	w := s.alloc()
	*w = waiter{ready: w.ready, request: r, since: now, sinceOff: s.slots.freeUntil(now)}
	w.end(admitted, w.sinceOff, now)
	s.settled.append(w)
	return w, waiting
}

// occupy gives r a free slot.
func (s *sequencer) occupy(r Request, now time.Duration) {
	s.slots.take(now)
	s.counters.Admitted++
	if !r.Unordered {
		s.numbers.admitted(r.Number, now)
	}
}

// settle removes w from the queue, with a verdict.
func (s *sequencer) settle(w *waiter, v verdict, now time.Duration) {
	s.queue.remove(w)
	if v == admitted {
		s.occupy(w.request, now)
	}
	w.end(v, s.slots.freeUntil(now), now)
	s.settled.append(w)
}

func later(now, d time.Duration) time.Duration { return now + min(d, math.MaxInt64-now) }
