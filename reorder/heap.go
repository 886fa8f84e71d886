package reorder

// The heaps in which a waiter can be.
const (
	byRank     = iota // lowest first: the next to go
	byRankDown        // highest first: the next to be refused
	byHold            // the end of the hold, earliest first; only those not due
	heaps
)

// A heap is a binary min-heap of waiters by (key, tie). Each waiter knows its index,
// so that it can be removed from the middle. The keys are in the slice, so that
// comparing them does not touch the waiters' memory.
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

// bytesBelow adds up the bytes of waiters with a key below limit, in the subtree
// under index i, until there are enough. Besides these waiters it visits only their
// children.
func (h *heap) bytesBelow(i int, limit, enough int64) int64 {
	if i >= len(h.entries) || h.entries[i].key >= limit || enough <= 0 {
		return 0
	}
	sum := h.entries[i].w.request.Bytes
	sum += h.bytesBelow(2*i+1, limit, enough-sum)
	return sum + h.bytesBelow(2*i+2, limit, enough-sum)
}
