package reorder

import (
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

// A sequencer decides who goes when. It is a pure state machine: moments are
// arguments (monotonic, since any fixed one), and whom it admitted or refused is
// taken from it with take. It is not safe for concurrent use.
//
// The expected number is the lowest that was neither passed nor came. Whenever a
// method returns with a slot free, all that wait are held: each is above the
// expected number, and the hold of none has run out. That is the liveness of the
// whole: pump runs last in all of them.
type sequencer struct {
	cfg       Config
	estimator estimator
	alloc     func() *waiter

	now       time.Duration // the latest moment seen
	inFlight  int
	freeSince time.Duration // since when a slot is free, if one is
	freeTime  time.Duration // how long one was before that, in all

	fresh       bool  // the next number is the first of its series
	expected    int64 // saturates at 2^63-1
	highestSeen int64 // expected-1 or above
	highestGone int64 // the highest admitted of its series; -1 if none was
	seen        recent
	missing     uint64 // numbers above expected that a higher one left open

	lowest   heap
	highest  heap
	holds    heap
	arrivals arrivals
	count    int64 // of arrivals that had to wait
	due      int   // waiters that are due
	bytes    int64

	settled, lastSettled *waiter
	stats                Stats // the counters; snapshot adds the rest
	recently             share
}

func newSequencer(cfg Config, e estimator, alloc func() *waiter) *sequencer {
	s := &sequencer{cfg: cfg, estimator: e, alloc: alloc, fresh: true, highestSeen: -1, highestGone: -1}
	s.lowest.which, s.highest.which, s.holds.which = byRank, byRankDown, byHold
	return s
}

// arrive takes a newcomer in. The verdict is admitted, full or waiting; only
// with waiting is there a waiter (which may have been settled already, and then
// has its place among those that take returns).
func (s *sequencer) arrive(r Request, now time.Duration) (*waiter, verdict) {
	now = s.advance(now)
	r.Bytes = max(r.Bytes, 0)
	r.Unordered = r.Unordered || r.Number < 0
	if !r.Unordered {
		s.note(r.Number, now)
	}
	var hold time.Duration
	if s.free() {
		if hold = s.holdFor(r, now); hold <= 0 {
			s.admitBelow(r, now)
		}
	}
	if s.free() && hold <= 0 {
		w, v := s.follow(r, now)
		s.occupy(r, now)
		s.pump(now)
		return w, v
	}
	rank := s.rank(r)
	if !s.makeRoom(rank, r.Bytes, now) {
		s.stats.RefusedFull++
		s.pump(now)
		return nil, full
	}
	w := s.enqueue(r, rank, hold, now)
	s.pump(now)
	return w, waiting
}

// release takes a slot back.
func (s *sequencer) release(now time.Duration) {
	now = s.advance(now)
	if !s.free() {
		s.freeSince = now
	}
	s.inFlight--
	s.pump(now)
}

// passOver takes down a number whose request needs no slot.
func (s *sequencer) passOver(n int64, now time.Duration) {
	now = s.advance(now)
	s.note(n, now)
	s.pump(now)
}

// leave takes out a waiter whose client went away. It reports false, and does
// nothing, if w was settled before.
func (s *sequencer) leave(w *waiter, now time.Duration) bool {
	now = s.advance(now)
	if w.verdict != waiting {
		return false
	}
	s.remove(w)
	w.end(left, s.freeUntil(now), now)
	s.stats.Cancelled++
	s.pump(now)
	return true
}

// tick does what is due by now.
func (s *sequencer) tick(now time.Duration) { s.advance(now) }

// resize changes how many may be admitted at once; 0: no limit. With fewer slots
// than are taken none is free until enough were given back; those that are held
// keep their holds, as where slots run out.
func (s *sequencer) resize(slots int, now time.Duration) {
	now = s.advance(now)
	wasFree, until := s.free(), s.freeUntil(now)
	s.cfg.Slots = slots
	switch {
	case wasFree && !s.free():
		s.freeTime = until
	case !wasFree && s.free():
		s.freeSince = now
	}
	s.pump(now)
}

// restart begins a new series of numbers. Those that wait get ranks below all
// numbers, in the order they had, and are numbered no more.
func (s *sequencer) restart(now time.Duration) {
	now = s.advance(now)
	s.estimator.restart(now)
	s.stats.GapsGivenUp += s.missing
	s.fresh, s.expected, s.highestSeen, s.highestGone, s.missing = true, 0, -1, -1, 0
	s.seen = recent{}

	ws := make([]*waiter, 0, s.lowest.len())
	for s.lowest.len() > 0 {
		w := s.lowest.entries[0].w
		s.lowest.remove(w)
		ws = append(ws, w)
	}
	s.highest.clear()
	s.holds.clear()
	s.due = len(ws)
	for i, w := range ws {
		w.rank, w.request.Unordered, w.due = int64(i-len(ws)), true, true
		s.lowest.push(w, w.rank, w.arrival)
		s.highest.push(w, ^w.rank, -w.arrival)
	}
	s.pump(now)
}

// wake returns when tick must be called at the latest; never if need not be. A
// hold that runs out while no slot is free changes nothing: release sees to it.
func (s *sequencer) wake() time.Duration {
	if s.arrivals.first == nil {
		return never
	}
	at := s.arrivals.first.deadline
	if s.free() && s.holds.len() > 0 {
		at = min(at, time.Duration(s.holds.entries[0].key))
	}
	return at
}

// take returns the waiters settled since the last call, linked by nextSettled in
// the order in which it happened.
func (s *sequencer) take() *waiter {
	w := s.settled
	s.settled, s.lastSettled = nil, nil
	return w
}

func (s *sequencer) snapshot(now time.Duration) Stats {
	st := s.stats
	st.Slots, st.InFlight = s.cfg.Slots, s.inFlight
	st.Waiting, st.WaitingBytes = s.lowest.len(), s.bytes
	if s.free() {
		st.Held = st.Waiting
	}
	st.Expected = s.expected
	st.RecentAdmitted, st.RecentReordered = s.recently.sum(max(now, s.now))
	if s.cfg.Capacity > 0 {
		st.Hold = s.boundedHold(now)
	}
	return st
}

// advance moves time on (never back: of two callers the one that read the clock
// first may come second) and does what became due. Holds come before time-outs:
// one that may go does not time out because the timer was slow.
func (s *sequencer) advance(now time.Duration) time.Duration {
	now = max(now, s.now)
	s.now = now
	if s.lowest.len() == 0 {
		return now
	}
	for s.holds.len() > 0 && time.Duration(s.holds.entries[0].key) <= now {
		w := s.holds.entries[0].w
		s.holds.remove(w)
		w.due = true
		s.due++
	}
	s.pump(now)
	for w := s.arrivals.first; w != nil && w.deadline <= now; w = s.arrivals.first {
		s.remove(w)
		s.stats.TimedOut++
		s.settle(w, timedOut, now)
	}
	s.pump(now)
	return now
}

// pump admits all that may go: while a slot is free, the lowest goes if it is
// not above the expected number, or if any waiter is due, as that one is either
// the lowest or stands above it and may not pass it. Then it lets expected pass
// the numbers that came and left again.
func (s *sequencer) pump(now time.Duration) {
	s.skip()
	for s.free() && s.lowest.len() > 0 {
		head := &s.lowest.entries[0]
		if head.key > s.expected && s.due == 0 {
			return
		}
		w := head.w
		s.remove(w)
		s.occupy(w.request, now)
		s.settle(w, admitted, now)
		s.skip()
	}
}

// admitBelow admits those that must go before r, which is not held although it
// may be ahead of a gap: those that wait with a lower number, or the same.
func (s *sequencer) admitBelow(r Request, now time.Duration) {
	for !r.Unordered && s.free() && s.lowest.len() > 0 && s.lowest.entries[0].key <= r.Number {
		w := s.lowest.entries[0].w
		s.remove(w)
		s.occupy(w.request, now)
		s.settle(w, admitted, now)
	}
}

// follow gives a newcomer who is admitted its place behind those that were
// settled before it in the same step: a waiter, if there are any.
func (s *sequencer) follow(r Request, now time.Duration) (*waiter, verdict) {
	if s.settled == nil {
		return nil, admitted
	}
	w := s.alloc()
	*w = waiter{ready: w.ready, request: r, since: now, sinceOff: s.freeUntil(now)}
	s.settle(w, admitted, now)
	return w, waiting
}
