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
	numbers  numbers
	queue    queue
	settled  list
	counters Stats // counters that are kept nowhere else; sequencer.snapshot adds the rest
}

// pump admits all that may go. While a slot is free, the lowest waiter goes if it is
// not above the expected number, or if any waiter is due: that one is either the
// lowest itself, or above it and may not pass it. Before that, pump moves expected
// past numbers that came and left without a slot, but not past a waiter, whose
// number it may be.
func (a *admission) pump(now time.Duration) {
	for {
		rank, ok := a.queue.nextRank()
		for a.numbers.expectedCame() && !(ok && rank <= a.numbers.expected) {
			a.numbers.pass(a.numbers.expected)
		}
		if !ok || !a.slots.free() || rank > a.numbers.expected && a.queue.due == 0 {
			return
		}
		a.settle(a.queue.lowest.entries[0].w, admitted, now)
	}
}

// admitBelow admits the waiters that must go before r, which itself is not held:
// those with a lower number or the same.
func (a *admission) admitBelow(r Request, now time.Duration) {
	for !r.Unordered && a.slots.free() {
		rank, ok := a.queue.nextRank()
		if !ok || rank > r.Number {
			return
		}
		a.settle(a.queue.lowest.entries[0].w, admitted, now)
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

// occupy gives r a free slot.
func (a *admission) occupy(r Request, now time.Duration) {
	a.slots.take(now)
	a.counters.Admitted++
	if !r.Unordered {
		a.numbers.admitted(r.Number, now)
	}
}

// settle removes w from the queue, with a verdict.
func (a *admission) settle(w *waiter, v verdict, now time.Duration) {
	a.queue.remove(w)
	if v == admitted {
		a.occupy(w.request, now)
	}
	w.end(v, a.slots.freeUntil(now), now)
	a.settled.append(w)
}
