package gate

import (
	"container/heap"
	"crypto/subtle"
	"time"
)

// A register knows which sessions are open, and how many have ended without Rest having
// been called. It is guarded by the mutex of its Sessions.
type register struct {
	most     int
	open     map[mark]*Session
	due      dues
	requests uint64        // in sessions, so far
	ending   int           // sessions that have ended and are not at rest
	closed   bool          // no more are opened
	quiet    chan struct{} // closed when closed and none is open or ending
}

// maxLead bounds how far ahead an expiry can be, so that a Duration can hold it.
const maxLead = 100 * 365 * 24 * time.Hour

// add adds an open session, if there may be one more.
func (r *register) add(s *Session) error {
	switch {
	case r.closed:
		return ErrSessionsClosed
	case len(r.open) >= r.most:
		return ErrSessionsFull
	}
	r.open[s.id] = s
	r.due.add(s)
	return nil
}

// find returns the open session with this id and ticket; nil if there is none. It
// always makes exactly one comparison of tickets.
func (r *register) find(id, ticket mark, now time.Time) *Session {
	session, want := r.open[id], &nobody
	if session != nil {
		want = &session.ticket
	}
	same := subtle.ConstantTimeCompare(ticket[:], want[:]) == 1
	if session == nil || !same || !now.Before(session.expires) {
		return nil
	}
	return session
}

// enter lets a request into a session, and moves its expiry on.
func (r *register) enter(s *Session, o Occupant, now time.Time) {
	s.expires = s.expires.Add(s.Lifetime)
	if latest := now.Add(maxLead); s.expires.After(latest) {
		s.expires = latest
	}
	r.due.moved(s)
	s.inside[o] = struct{}{}
	s.requests++
	r.requests++
}

// leave takes a request out of a session. It reports whether that ended the session,
// because it was its last request and the sessions are being drained.
func (r *register) leave(s *Session, o Occupant) (drained bool) {
	_, was := s.inside[o]
	delete(s.inside, o)
	switch last := was && len(s.inside) == 0; {
	case last && s.over:
		close(s.idle)
	case last && r.closed:
		r.remove(s)
		return true
	}
	return false
}

// remove ends an open session. Call Sessions.finish after releasing the mutex.
func (r *register) remove(s *Session) {
	delete(r.open, s.id)
	r.due.remove(s)
	s.over = true
	if len(s.inside) == 0 {
		close(s.idle)
	}
	r.ending++
}

// expire removes and returns the sessions that have expired by now. It also returns how
// long it takes until the next one does.
func (r *register) expire(now time.Time) (expired []*Session, next time.Duration) {
	for len(r.due) > 0 && !now.Before(r.due[0].expires) {
		expired = append(expired, r.due[0])
		r.remove(r.due[0])
	}
	if len(r.due) == 0 {
		return expired, longest
	}
	return expired, min(longest, r.due[0].expires.Sub(now))
}

// close allows no more sessions. It removes and returns those that have no request, or
// all of them if busy is set.
func (r *register) close(busy bool) (list []*Session) {
	r.closed = true
	for _, s := range r.open {
		if busy || len(s.inside) == 0 {
			list = append(list, s)
		}
	}
	for _, s := range list {
		r.remove(s)
	}
	r.settle()
	return list
}

// rest notes that Rest was called for a removed session.
func (r *register) rest() {
	r.ending--
	r.settle()
}

// settle closes quiet if nothing is left.
func (r *register) settle() {
	if r.closed && len(r.open) == 0 && r.ending == 0 {
		select {
		case <-r.quiet:
		default:
			close(r.quiet)
		}
	}
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
