package reorder

import "time"

// A verdict is what became of a request.
type verdict uint8

const (
	waiting verdict = iota
	admitted
	full
	timedOut
	left
)

// An admission is who has a slot, who waits, and which numbers came. It decides who
// goes next; the sequencer calls it when something has happened.
type admission struct {
	alloc    func() *waiter
	slots    slots
	roll     roll
	queue    queue
	settled  list
	counters Stats // counters that are kept nowhere else; sequencer.snapshot adds the rest
}

// pump passes over numbers that came and left without a slot, and admits all that may go:
// while a slot is free, the lowest of those that are the lowest of their series and may.
func (a *admission) pump(now time.Duration) {
	for {
		s := a.roll.next()
		if s == nil || !a.slots.free() {
			return
		}
		a.settle(s.lowest.entries[0].w, admitted, now)
	}
}

// admitBelow admits the waiters of a series that must go before its number n, which
// itself is not held: those with a lower number or the same.
func (a *admission) admitBelow(s *series, n int64, now time.Duration) {
	for a.slots.free() && s.lowest.len() > 0 && s.lowest.entries[0].key <= s.rank(n) {
		a.settle(s.lowest.entries[0].w, admitted, now)
	}
}

// follow puts a newcomer that is admitted behind those that were settled earlier in
// the same step. It returns a waiter if there are any.
func (a *admission) follow(r Request, now time.Duration) (*waiter, verdict) {
	if a.settled.first == nil {
		return nil, admitted
	}
	w := a.alloc()
	*w = waiter{ready: w.ready, request: r, since: now, sinceOff: a.slots.freeUntil(now)}
	w.end(admitted, w.sinceOff, now)
	a.settled.append(w)
	return w, waiting
}

// occupy gives r, of series s, a free slot.
func (a *admission) occupy(r Request, s *series, now time.Duration) {
	a.slots.take(now)
	a.counters.Admitted++
	if !r.Unordered {
		s.numbers.admitted(r.Number, now)
		a.roll.went(s, r.Number)
	}
}

// settle removes w from the queue, with a verdict.
func (a *admission) settle(w *waiter, v verdict, now time.Duration) {
	a.queue.remove(w)
	if v == admitted {
		a.occupy(w.request, w.series, now)
	}
	w.end(v, a.slots.freeUntil(now), now)
	a.settled.append(w)
}
