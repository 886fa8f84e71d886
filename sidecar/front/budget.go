package front

import "sync/atomic"

// A Budget bounds the memory of the bodies that are being read: their senders
// are not verified yet, so without it anyone could have each connection hold a
// body of the largest size, short of its last byte. A body's first firstBody
// bytes are free, which bounds them by the number of connections.
//
// A buffer must fit, whole, into what is free while the smaller one that it
// replaces is still there. So large bodies are refused first, and as long as
// any of it is left a prompt of usual size finds some: to shut that out as well
// takes thousands of connections. This is the dynamic threshold of Choudhury
// and Hahne (1998), with which switches share their memory, at alpha = 1.
//
// Where memory is short it also bounds all bodies together, whole, whoever sent
// them and until their buffers are given back.
type Budget struct {
	limit int64
	used  atomic.Int64

	all  int64 // 0: no limit
	held atomic.Int64
}

// NewBudget makes one of the size of the queue, which is what is meant for
// bodies that wait; one of the largest must fit, beside the buffer that it
// replaces. So it must into all, which bounds all bodies; 0: nothing does.
func NewBudget(queueBytes, all int64, maxBody int) *Budget {
	least := 2 * int64(maxBody)
	if all > 0 {
		all = max(all, least+firstBody)
	}
	return &Budget{limit: max(queueBytes, least), all: all}
}

// take takes n bytes for a body that is being read, if there are as many.
func (b *Budget) take(n int) bool { return draw(&b.used, n, b.limit) }

// Used is how much of them is taken, in bytes.
func (b *Budget) Used() int64 { return b.used.Load() }

func (b *Budget) give(n int) { b.used.Add(-int64(n)) }

// hold takes n bytes of what all bodies may have. A nil Budget has no end.
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
