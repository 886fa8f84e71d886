package reorder

import "time"

// A waiter is a request that waits: held, or queued for a slot.
type waiter struct {
	// ready is the Buffer's, with room for one wake-up; the sequencer never
	// touches it.
	ready chan struct{}

	request  Request
	rank     int64 // place in the order: the number, or what stands for it
	arrival  int64 // counts arrivals: which of two with the same rank came first
	due      bool  // not held, or not any more: only a slot is missing
	deadline time.Duration
	since    time.Duration // when it came
	sinceOff time.Duration // the sequencer's free time when it came

	verdict      verdict
	held, queued time.Duration // valid with a verdict
	turn         uint64        // of the departures

	at          [heaps]int32 // index in each heap
	prev, next  *waiter      // in order of arrival
	nextSettled *waiter
}

// end gives w its verdict and splits its wait: what passed while a slot was free
// was a hold, by the total of such time until now.
func (w *waiter) end(v verdict, freeTime, now time.Duration) {
	w.verdict = v
	w.held = freeTime - w.sinceOff
	w.queued = now - w.since - w.held
}

// The heaps in which a waiter can be.
const (
	byRank     = iota // lowest first: who goes next
	byRankDown        // highest first: who is refused
	byHold            // who was held long enough first; only those not due
	heaps
)

// A heap is a binary min-heap of waiters by (key, tie) in which each waiter
// knows its index, so that it can be taken out of the middle. The keys lie in
// the slice: comparing them does not touch the waiters.
type heap struct {
	which   int
	entries []entry
}

type entry struct {
	key, tie int64
	w        *waiter
}

func (e *entry) before(f *entry) bool {
	return e.key < f.key || e.key == f.key && e.tie < f.tie
}

func (h *heap) len() int { return len(h.entries) }

func (h *heap) push(w *waiter, key, tie int64) {
	h.entries = append(h.entries, entry{key, tie, w})
	h.up(len(h.entries) - 1)
}

func (h *heap) remove(w *waiter) {
	i, last := int(w.at[h.which]), len(h.entries)-1
	moved := h.entries[last]
	h.entries[last] = entry{}
	h.entries = h.entries[:last]
	if i == last {
		return
	}
	h.entries[i] = moved
	if i > 0 && moved.before(&h.entries[(i-1)/2]) {
		h.up(i)
	} else {
		h.down(i)
	}
}

func (h *heap) clear() {
	clear(h.entries)
	h.entries = h.entries[:0]
}

func (h *heap) up(i int) {
	e := h.entries[i]
	for i > 0 {
		parent := (i - 1) / 2
		if !e.before(&h.entries[parent]) {
			break
		}
		h.place(i, h.entries[parent])
		i = parent
	}
	h.place(i, e)
}

func (h *heap) down(i int) {
	e := h.entries[i]
	for {
		child := 2*i + 1
		if child >= len(h.entries) {
			break
		}
		if child+1 < len(h.entries) && h.entries[child+1].before(&h.entries[child]) {
			child++
		}
		if !h.entries[child].before(&e) {
			break
		}
		h.place(i, h.entries[child])
		i = child
	}
	h.place(i, e)
}

func (h *heap) place(i int, e entry) {
	h.entries[i] = e
	e.w.at[h.which] = int32(i)
}

// bytesBelow adds up the bytes of the waiters whose key is below limit, in the
// part of the heap under index i, until there are enough. It looks at no others
// but their children.
func (h *heap) bytesBelow(i int, limit, enough int64) int64 {
	if i >= len(h.entries) || h.entries[i].key >= limit || enough <= 0 {
		return 0
	}
	sum := h.entries[i].w.request.Bytes
	sum += h.bytesBelow(2*i+1, limit, enough-sum)
	return sum + h.bytesBelow(2*i+2, limit, enough-sum)
}

// An arrivals is a list of waiters in the order in which they came, which is
// that of their deadlines.
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
