package gate

import (
	"maps"
	"slices"
	"time"

	"github.com/usher-sidecar/usher/sidecar/account"
)

// A Session is one of Sessions. Its exported fields do not change.
type Session struct {
	Terms
	Created time.Time

	sessions *Sessions
	id       mark
	ticket   mark
	rested   chan struct{} // closed by Rest

	// sessions.mu guards what follows.
	expires  time.Time
	place    int // in register.due
	inside   map[Occupant]struct{}
	requests uint64
	over     bool
	idle     chan struct{} // closed when over and nobody is inside
}

// Terms are what a session is opened with.
type Terms struct {
	Lifetime       time.Duration
	AuthData       []byte          // the creating ticket, as it was given
	OnCloseRoute   string          // called when the session ends; "": none
	OnClosePayload []byte          // as it was given; nil: none
	ClosingBody    []byte          // the body of that call
	Account        account.Request // of the request that created it
}

// An Occupant is a request of a session.
type Occupant interface {
	// SessionEnded ends the request. It must not block.
	SessionEnded()
	// SessionOverdue ends the request by force if it has not ended. It must not
	// block.
	SessionOverdue()
}

// A Cause is why a session ended.
type Cause uint8

// The causes.
const (
	Closed  Cause = iota // its client closed it
	Expired              // it was not used for its lifetime
	Drained              // the worker shuts down

	// Causes is the number of causes.
	Causes
)

// String returns the cause as a label.
func (c Cause) String() string { return [...]string{"closed", "expired", "drained"}[c] }

// Leave takes a request out of the session that it entered.
func (s *Session) Leave(o Occupant) {
	all := s.sessions
	all.mu.Lock()
	drained := all.register.leave(s, o)
	all.mu.Unlock()
	if drained {
		all.finish(Drained, s)
	}
}

// Close ends the session, unless it has ended.
func (s *Session) Close() {
	all := s.sessions
	all.mu.Lock()
	open := !s.over
	if open {
		all.register.remove(s)
	}
	all.mu.Unlock()
	if open {
		all.finish(Closed, s)
	}
}

// Force ends the requests that are still in the session by force.
func (s *Session) Force() {
	for _, o := range s.occupants() {
		o.SessionOverdue()
	}
}

// occupants returns the requests that are in the session now.
func (s *Session) occupants() []Occupant {
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	return slices.Collect(maps.Keys(s.inside))
}

// Idle returns a channel that is closed when the session has ended and its last
// request has left.
func (s *Session) Idle() <-chan struct{} { return s.idle }

// Rest says that everything that had to be done after the session's end is done. Call
// it once.
func (s *Session) Rest() {
	close(s.rested)
	all := s.sessions
	all.mu.Lock()
	all.register.rest()
	all.mu.Unlock()
}

// Rested returns a channel that is closed by Rest.
func (s *Session) Rested() <-chan struct{} { return s.rested }
