package report

import (
	"sync"
	"sync/atomic"
)

// A roll lists the requests that have an index: those in work, and those that have
// ended. The zero roll lists none.
type roll struct {
	named   *named
	ended   *ring
	entries sync.Pool
}

// open makes room for up to capacity requests in work.
func (r *roll) open(capacity int) {
	r.named, r.ended = newNamed(capacity), newRing(maxWaiting)
	r.entries.New = func() any { return new(entry) }
}

// enter lists a request as being in work.
func (r *roll) enter(index string) (e *entry, place int) {
	e = r.entries.Get().(*entry)
	*e = entry{index: index}
	return e, r.named.add(e)
}

// leave lists an entry, which must be complete, as ended.
func (r *roll) leave(e *entry, place int) {
	r.named.remove(place)
	r.ended.put(e)
}

// maxWaiting is how many ended requests may wait to be named to the autoscaler.
// Beyond it the oldest are dropped.
const maxWaiting = 1 << 16

// An entry is a request that has an index, from its verification until the
// autoscaler has acknowledged its end. The index does not change; the rest is set
// at the request's end, before the entry is put into the ring. Only the reporter
// recycles entries, so whatever it finds in named or ring is complete.
type entry struct {
	index string
	end   End
	times Times
}

// named holds the entries in work. It is at least twice as large as needed, so that an
// empty place is found quickly.
type named struct {
	places []atomic.Pointer[entry]
	next   atomic.Uint32 // where the search begins
}

func newNamed(capacity int) *named {
	size := 64
	for size < 2*capacity {
		size *= 2
	}
	return &named{places: make([]atomic.Pointer[entry], size)}
}

// add gives an entry a place; -1 if all are taken.
func (n *named) add(e *entry) int {
	mask := uint32(len(n.places) - 1)
	from := n.next.Add(1)
	for i := range uint32(len(n.places)) {
		if at := (from + i) & mask; n.places[at].CompareAndSwap(nil, e) {
			return int(at)
		}
	}
	return -1
}

func (n *named) remove(place int) {
	if place >= 0 {
		n.places[place].Store(nil)
	}
}

// indexes appends the index of each entry in work.
func (n *named) indexes(dst []string) []string {
	for i := range n.places {
		if e := n.places[i].Load(); e != nil {
			dst = append(dst, e.index)
		}
	}
	return dst
}

// A ring hands entries from the data path to the reporter. Entries are put and taken by
// atomic swaps, so an entry goes to exactly one of the reporter, which reports it, and
// a writer that laps it, which drops it.
type ring struct {
	places  []atomic.Pointer[entry]
	puts    atomic.Uint64 // so far; the next goes to this place
	dropped atomic.Uint64

	// Used by the reporter only.
	taken uint64 // so far
	from  uint64 // puts before this one were taken or dropped
}

func newRing(size int) *ring { return &ring{places: make([]atomic.Pointer[entry], size)} }

func (r *ring) put(e *entry) {
	at := (r.puts.Add(1) - 1) % uint64(len(r.places))
	if r.places[at].Swap(e) != nil {
		r.dropped.Add(1)
	}
}

// take appends entries to dst, the oldest first, until it holds most of them. An entry
// that is being put at that moment is taken next time.
func (r *ring) take(dst []*entry, most int) []*entry {
	puts, size := r.puts.Load(), uint64(len(r.places))
	from := r.from
	if puts > size {
		from = max(from, puts-size) // what was there before is overwritten
	}
	r.from = puts
	for n := from; n < puts; n++ {
		if len(dst) == most {
			r.from = min(r.from, n)
			break
		}
		e := r.places[n%size].Swap(nil)
		if e == nil {
			r.from = min(r.from, n) // being put
			continue
		}
		dst = append(dst, e)
		r.taken++
	}
	return dst
}

// waiting returns how many entries are in the ring.
func (r *ring) waiting() int { return int(r.puts.Load() - r.taken - r.dropped.Load()) }

// maxBatch is how many ended requests one report names: some 600 KB.
const maxBatch = 4096

// A batch is the entries that are being named to the autoscaler, again and again
// until it acknowledges them.
type batch struct {
	entries []*entry // the oldest first
	dropped atomic.Uint64
}

// fill takes entries until the batch is full.
func (b *batch) fill(t *Tally) {
	if t.ended != nil {
		b.entries = t.ended.take(b.entries, maxBatch)
	}
}

// acknowledge forgets what is in the batch.
func (b *batch) acknowledge(t *Tally) {
	for i, e := range b.entries {
		t.entries.Put(e)
		b.entries[i] = nil
	}
	b.entries = b.entries[:0]
}

// failed drops the oldest entries if too many wait.
func (b *batch) failed(t *Tally) {
	excess := min(len(b.entries), len(b.entries)+t.ended.waiting()-maxWaiting)
	if excess > 0 {
		b.dropped.Add(uint64(excess))
		b.entries = append(b.entries[:0], b.entries[excess:]...)
	}
}
