package gate

import (
	"cmp"
	"container/heap"
	"context"
	"slices"
	"time"
)

// Run ends sessions when they expire, until ctx ends.
func (s *Sessions) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-s.earlier:
		case <-ctx.Done():
			return
		}
		timer.Reset(s.Expire(time.Now()))
	}
}

// longest is how long Run sleeps where no session is open.
const longest = time.Hour

// Expire ends the sessions that have expired by now, and returns for how long no
// other does.
func (s *Sessions) Expire(now time.Time) time.Duration {
	var expired []*Session
	s.mu.Lock()
	for len(s.due) > 0 && !now.Before(s.due[0].expires) {
		expired = append(expired, s.due[0])
		s.remove(s.due[0])
	}
	next := longest
	if len(s.due) > 0 {
		next = min(next, s.due[0].expires.Sub(now))
	}
	s.mu.Unlock()
	s.finish(Expired, expired...)
	return next
}

// Drain stops new sessions and ends each one as soon as it has no request.
func (s *Sessions) Drain() { s.end(false) }

// Close stops new sessions and ends all.
func (s *Sessions) Close() { s.end(true) }

func (s *Sessions) end(busy bool) {
	var list []*Session
	s.mu.Lock()
	s.closed = true
	for _, session := range s.open {
		if busy || len(session.inside) == 0 {
			list = append(list, session)
		}
	}
	for _, session := range list {
		s.remove(session)
	}
	s.settle()
	s.mu.Unlock()
	s.finish(Drained, list...)
}

// Quiet returns a channel that is closed after Drain or Close, when Rest was called
// for the last session.
func (s *Sessions) Quiet() <-chan struct{} { return s.quiet }

// A View is a session as operators see it.
type View struct {
	Age      time.Duration
	Left     time.Duration // until it expires
	Requests uint64        // that came in it so far
	Inside   int           // that are in it now
}

// A Count is how many sessions there are.
type Count struct {
	Open     int
	Requests uint64 // that came in sessions, since the start
}

// Count counts them.
func (s *Sessions) Count() Count {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Count{len(s.open), s.requests.Load()}
}

// Views returns the oldest sessions, at most that many.
func (s *Sessions) Views(now time.Time, most int) []View {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]View, 0, len(s.open))
	for _, session := range s.open {
		list = append(list, View{now.Sub(session.Created), session.expires.Sub(now), session.requests, len(session.inside)})
	}
	slices.SortFunc(list, func(a, b View) int { return cmp.Compare(b.Age, a.Age) })
	return list[:min(len(list), most)]
}

// dues is a heap of sessions, the first to expire first.
type dues []*Session

func (d *dues) add(s *Session)    { heap.Push(d, s) }
func (d *dues) moved(s *Session)  { heap.Fix(d, s.place) }
func (d *dues) remove(s *Session) { heap.Remove(d, s.place) }

// Len implements heap.Interface.
func (d dues) Len() int { return len(d) }

// Less implements heap.Interface.
func (d dues) Less(i, j int) bool { return d[i].expires.Before(d[j].expires) }

// Swap implements heap.Interface.
func (d dues) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].place, d[j].place = i, j
}

// Push implements heap.Interface.
func (d *dues) Push(x any) {
	s := x.(*Session)
	s.place = len(*d)
	*d = append(*d, s)
}

// Pop implements heap.Interface.
func (d *dues) Pop() any {
	old := *d
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*d = old[:len(old)-1]
	return last
}
