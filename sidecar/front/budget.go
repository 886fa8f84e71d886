package front

import "sync/atomic"

// A Budget bounds the memory of the bodies that are being read. Their senders are not
// verified yet, so without it anyone could have each connection hold a body of the
// largest size short of its last byte. The first firstBody bytes of each body are free;
// the number of connections bounds those.
//
// A buffer must fit, whole, into what is free while the smaller one that it replaces is
// still held. So large bodies are refused first, and as long as anything is left a prompt
// of usual size finds room: to shut that out as well takes thousands of connections. This
// is the dynamic threshold of Choudhury and Hahne (1998), with which switches share their
// memory, at alpha = 1.
//
// If memory is limited, it also bounds the memory of all bodies together, verified or
// not, until their buffers are released.
type Budget struct {
	limit int64
	used  atomic.Int64

	all  int64 // bytes for all bodies; 0: no limit
	held atomic.Int64
}

// NewBudget makes a Budget of the size of the queue, which is the memory meant for
// waiting bodies. One body of the largest size must fit, together with the buffer that it
// replaces; it must also fit into all, which bounds all bodies. 0: they are not bounded.
func NewBudget(queueBytes, all int64, maxBody int) *Budget {
	least := 2 * int64(maxBody)
	if all > 0 {
		all = max(all, least+firstBody)
	}
	return &Budget{limit: max(queueBytes, least), all: all}
}

// take takes n bytes for a body that is being read, if there are that many.
func (b *Budget) take(n int) bool { return draw(&b.used, n, b.limit) }

// Used returns how many bytes the bodies that are being read have taken.
func (b *Budget) Used() int64 { return b.used.Load() }

func (b *Budget) give(n int) { b.used.Add(-int64(n)) }

// hold takes n bytes of the memory of all bodies, if there are that many. A nil Budget
// has no limit.
func (b *Budget) hold(n int) bool { return b == nil || b.all == 0 || draw(&b.held, n, b.all) }

func (b *Budget) drop(n int) {
	if b != nil && b.all > 0 {
		b.held.Add(-int64(n))
	}
}

func draw(used *atomic.Int64, n int, limit int64) bool {
	if used.Add(int64(n)) <= limit {
		return true
	}
	used.Add(-int64(n))
	return false
}
