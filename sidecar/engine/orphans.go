package engine

import "time"

// orphanAge is how long a server must have had more requests than were sent before
// these count: figures lag behind events.
const orphanAge = 10 * time.Second

// orphans counts the requests that a model server has although no client is waiting for
// them: the smallest excess over the last orphanAge. It is pure: times are arguments.
// The zero value has seen nothing.
type orphans struct {
	seen []excess // of the last orphanAge, and the last one before; oldest first
	last time.Duration
}

// An excess is the least number of requests that the server had beyond those sent to
// it, from some time on.
type excess struct {
	at time.Duration
	n  int
}

// mostSeen bounds how many excesses are kept, however often figures are read.
const mostSeen = 64

// note records an excess; below 0 counts as 0.
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

// forget starts over, because it is not known what the server had in between.
func (o *orphans) forget() { o.seen = o.seen[:0] }

// count returns how many there have been for at least orphanAge.
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
