package reorder

import (
	"cmp"
	"slices"
	"time"
)

// A waiter is a request that waits: either held, or queued for a slot.
type waiter struct {
	// ready is the Buffer's, with room for one wake-up; the sequencer never
	// touches it.
	ready chan struct{}

	request  Request
	since    time.Duration // when it came
	sinceOff time.Duration // slots.freeUntil at that time
	deadline time.Duration
	standing

	ending
	nextSettled *waiter
}

// A standing is a waiter's place in the queue.
type standing struct {
	series     *series      // that it waits in
	rank       int64        // place in the order, also among the series
	arrival    int64        // counts arrivals, to order waiters of the same rank
	due        bool         // not held, or no longer: it only needs a slot
	at         [heaps]int32 // index in each heap
	prev, next *waiter      // in order of arrival
}

// An ending is how a wait ended.
type ending struct {
	verdict      verdict       // waiting: it has not
	held, queued time.Duration // valid once there is a verdict
	turn         uint64        // see departures
}

// end gives w its verdict and splits its wait in two: the time during which a slot
// was free was a hold. freeTime is slots.freeUntil(now).
func (w *waiter) end(v verdict, freeTime, now time.Duration) {
	w.verdict = v
	w.held = freeTime - w.sinceOff
	w.queued = now - w.since - w.held
}

// A queue is the requests that wait, sorted in every order that is needed.
type queue struct {
	capacity int   // limit on how many wait
	maxBytes int64 // limit on the sum of their bytes

	highest  heap
	holds    heap
	arrivals arrivals
	count    int64 // how many had to wait, so far
	bytes    int64 // sum over all waiters
}

func newQueue(capacity int, maxBytes int64) queue {
	q := queue{capacity: capacity, maxBytes: maxBytes}
	q.highest.which, q.holds.which = byRankDown, byHold
	return q
}

func (q *queue) len() int { return q.highest.len() }

// rank returns the place among the waiters of a newcomer to series s. One without a
// number goes behind all of them. If it were given the expected number instead, a steady
// stream of such requests would starve those held behind a gap; this way only numbers
// still missing below its rank can pass it, and these are finitely many.
func (q *queue) rank(r Request, s *series) int64 {
	if !r.Unordered {
		return s.rank(r.Number)
	}
	expected := s.rank(s.numbers.expected)
	if q.highest.len() == 0 {
		return expected
	}
	return max(expected, ^q.highest.entries[0].key)
}

// admits reports whether a request of this many bytes fits into the empty queue.
func (q *queue) admits(bytes int64) bool { return q.capacity > 0 && bytes <= q.maxBytes }

func (q *queue) fits(bytes int64) bool {
	return q.len() < q.capacity && bytes <= q.maxBytes-q.bytes
}

// canMakeRoom reports whether a newcomer fits if waiters of a higher rank are
// refused. Of equal ranks the newcomer's is the higher.
//
// Looking for the bytes takes a step for each waiter above the newcomer, but only
// until those found have as many bytes as the newcomer lacks.
func (q *queue) canMakeRoom(rank, bytes int64) bool {
	switch {
	case !q.admits(bytes):
		return false
	case q.fits(bytes):
		return true
	case q.len() == 0 || q.highest.entries[0].key >= ^rank:
		return false
	}
	lacking := bytes - (q.maxBytes - q.bytes)
	return lacking <= 0 || q.highest.bytesBelow(0, ^rank, lacking) >= lacking
}

// grow adds n bytes to a waiter and reports whether there was room for them: it may
// not have more in total than is left free afterwards, so that one waiter cannot
// take the space that later ones need (the dynamic threshold of Choudhury and Hahne,
// 1998, with alpha = 1). Nobody is refused to make room for it.
func (q *queue) grow(w *waiter, n int64) bool {
	free := q.maxBytes - q.bytes - n
	if free < 0 || w.request.Bytes+n > free {
		return false
	}
	w.request.Bytes += n
	q.bytes += n
	return true
}

// push inserts w at its rank in its series. Unless it is due, it is held until the given
// time.
func (q *queue) push(w *waiter, until time.Duration) {
	q.count++
	w.arrival = q.count
	w.series.lowest.push(w, w.rank, w.arrival)
	q.highest.push(w, ^w.rank, -w.arrival)
	q.arrivals.append(w)
	q.bytes += w.request.Bytes
	if w.due {
		w.series.due++
	} else {
		q.holds.push(w, int64(until), w.arrival)
	}
}

func (q *queue) remove(w *waiter) {
	w.series.lowest.remove(w)
	q.highest.remove(w)
	q.arrivals.remove(w)
	q.bytes -= w.request.Bytes
	if w.due {
		w.series.due--
	} else {
		q.holds.remove(w)
	}
}

// nextHold returns when the next hold ends; never if nobody is held.
func (q *queue) nextHold() time.Duration {
	if q.holds.len() == 0 {
		return never
	}
	return time.Duration(q.holds.entries[0].key)
}

// endHolds makes waiters due whose hold has ended.
func (q *queue) endHolds(now time.Duration) {
	for q.nextHold() <= now {
		w := q.holds.entries[0].w
		q.holds.remove(w)
		w.due = true
		w.series.due++
	}
}

// forgetNumbers gives all waiters ranks in series s below every number, keeping their
// order, and ends their holds.
func (q *queue) forgetNumbers(s *series) {
	ws := make([]*waiter, 0, q.len())
	for w := q.arrivals.first; w != nil; w = w.next {
		w.series.lowest.clear()
		w.series.due = 0
		ws = append(ws, w)
	}
	slices.SortFunc(ws, func(a, b *waiter) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.arrival, b.arrival))
	})
	q.highest.clear()
	q.holds.clear()
	s.due = len(ws)
	for i, w := range ws {
		w.series, w.rank, w.request.Unordered, w.due = s, int64(i-len(ws)), true, true
		s.lowest.push(w, w.rank, w.arrival)
		q.highest.push(w, ^w.rank, -w.arrival)
	}
}

// An arrivals is a list of waiters in the order in which they came, which is also
// the order of their deadlines.
type arrivals struct{ first, last *waiter }

func (l *arrivals) append(w *waiter) {
	w.prev, w.next = l.last, nil
	if l.last == nil {
		l.first = w
	} else {
		l.last.next = w
	}
	l.last = w
}

func (l *arrivals) remove(w *waiter) {
	if w.prev == nil {
		l.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
}

// A list holds settled waiters, linked by nextSettled.
type list struct{ first, last *waiter }

func (l *list) append(w *waiter) {
	if l.first == nil {
		l.first = w
	} else {
		l.last.nextSettled = w
	}
	l.last = w
}

// take empties the list and returns its first waiter.
func (l *list) take() *waiter {
	w := l.first
	l.first = nil
	return w
}
