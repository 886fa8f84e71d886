package engine

import "time"

// orphanAge is how long a server must have held more than was sent there before
// that counts: less is the time that passes between an event and its figure.
const orphanAge = 10 * time.Second

// An orphans tells how many requests a model server holds that nobody here waits
// for: the fewest that it held in excess over the last orphanAge. It is pure:
// moments are arguments. The zero value has seen nothing.
type orphans struct {
	seen []excess // of the last orphanAge and the one before; the oldest first
	last time.Duration
}

// An excess is how many more requests the server held than were sent there, at
// the least, from a moment on.
type excess struct {
	at time.Duration
	n  int
}

// mostSeen bounds how many are told apart, however often figures are read.
const mostSeen = 64

// note takes down an excess; one below 0 is none.
func (o *orphans) note(n int, at time.Duration) {
	n = max(n, 0)
	o.last = at
	if i := len(o.seen) - 1; i > 0 && at-o.seen[i].at < orphanAge/mostSeen {
		o.seen[i].n = min(o.seen[i].n, n)
		return
	}
	o.seen = append(o.seen, excess{at, n})
	first := 0
	for first+1 < len(o.seen) && at-o.seen[first+1].at >= orphanAge {
		first++
	}
	o.seen = append(o.seen[:0], o.seen[first:]...)
}

// forget starts anew: what the server held in between is not known.
func (o *orphans) forget() { o.seen = o.seen[:0] }

// count is how many there are for longer than orphanAge.
func (o *orphans) count() int {
	if len(o.seen) == 0 || o.last-o.seen[0].at < orphanAge {
		return 0
	}
	least := o.seen[0].n
	for _, e := range o.seen {
		least = min(least, e.n)
	}
	return least
}
