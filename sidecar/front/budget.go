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
type Budget struct {
	limit int64
	used  atomic.Int64
}

// NewBudget makes one of the size of the queue, which is what is meant for
// bodies that wait; one of the largest must fit, beside the buffer that it replaces.
func NewBudget(queueBytes int64, maxBody int) *Budget {
	return &Budget{limit: max(queueBytes, 2*int64(maxBody))}
}

// take takes n bytes, if there are as many.
func (b *Budget) take(n int) bool {
	if b.used.Add(int64(n)) <= b.limit {
		return true
	}
	b.used.Add(-int64(n))
	return false
}

// Used is how much is taken, in bytes.
func (b *Budget) Used() int64 { return b.used.Load() }

func (b *Budget) give(n int) { b.used.Add(-int64(n)) }
