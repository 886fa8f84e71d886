package front

import (
	"container/list"
	"errors"
	"net/netip"
	"sync"
	"time"
)

// mostWaiting is how many handshakes may wait for their turn. Each holds a connection,
// whose number is bounded elsewhere; this bounds the wait.
const mostWaiting = 1024

// Why a handshake got no turn.
var (
	errNoTurn   = errors.New("too many TLS handshakes wait")
	errTurnLate = errors.New("the TLS handshake waited for too long")
)

// turns let a limited number of handshakes work at once; the others wait. Turns go round
// the origins that wait, and if too many handshakes wait, the newest of the origin that
// has most of them is refused: a flood from one address delays itself, and anybody else
// by at most one turn each.
//
// Handshakes that have begun go before all others. Otherwise, when more arrive than can
// be served, the work spent on them would be lost, and none would be completed.
type turns struct {
	most int

	mu      sync.Mutex
	free    int
	waiting int // in all queues
	queues  map[netip.Addr]*queue
	round   list.List // of *queue, in the order of their turns
	begun   list.List // of *waiter, which have begun
}

// A queue holds the handshakes of one origin that wait and have not begun.
type queue struct {
	origin  netip.Addr
	waiters list.List // of *waiter
	at      *list.Element
}

type waiter struct {
	queue *queue // nil: it has begun
	at    *list.Element
	ready chan error // gets nil for a turn; buffers one
}

func newTurns(free, most int) *turns {
	return &turns{free: free, most: most, queues: make(map[netip.Addr]*queue)}
}

// take waits for a turn, until deadline. begun gives it priority over those that have not
// begun. Errors: errNoTurn, errTurnLate.
func (t *turns) take(origin netip.Addr, deadline time.Time, begun bool) error {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return nil
	}
	w := t.join(origin, begun)
	if t.waiting > t.most {
		t.dismiss(t.longest())
	}
	t.mu.Unlock()
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case err := <-w.ready:
		return err
	case <-timer.C:
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case err := <-w.ready: // it came at the same moment
		return err
	default:
		t.quit(w)
		return errTurnLate
	}
}

// give ends a turn, and starts the next.
func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	var w *waiter
	if first := t.begun.Front(); first != nil {
		w = first.Value.(*waiter)
	} else if first := t.round.Front(); first != nil {
		w = first.Value.(*queue).waiters.Front().Value.(*waiter)
		t.round.MoveToBack(first)
	} else {
		t.free++
		return
	}
	t.quit(w)
	w.ready <- nil
}

// count returns how many wait.
func (t *turns) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waiting + t.begun.Len()
}

func (t *turns) join(origin netip.Addr, begun bool) *waiter {
	if begun {
		w := &waiter{ready: make(chan error, 1)}
		w.at = t.begun.PushBack(w)
		return w
	}
	q := t.queues[origin]
	if q == nil {
		q = &queue{origin: origin}
		q.at = t.round.PushBack(q)
		t.queues[origin] = q
	}
	w := &waiter{queue: q, ready: make(chan error, 1)}
	w.at = q.waiters.PushBack(w)
	t.waiting++
	return w
}

// quit removes a waiter, and its queue if that is empty then.
func (t *turns) quit(w *waiter) {
	if w.queue == nil {
		t.begun.Remove(w.at)
		return
	}
	w.queue.waiters.Remove(w.at)
	t.waiting--
	if w.queue.waiters.Len() == 0 {
		t.round.Remove(w.queue.at)
		delete(t.queues, w.queue.origin)
	}
}

// longest returns the newest waiter of the longest queue.
func (t *turns) longest() *waiter {
	var most *queue
	for _, q := range t.queues {
		if most == nil || q.waiters.Len() > most.waiters.Len() {
			most = q
		}
	}
	return most.waiters.Back().Value.(*waiter)
}

func (t *turns) dismiss(w *waiter) {
	t.quit(w)
	w.ready <- errNoTurn
}
