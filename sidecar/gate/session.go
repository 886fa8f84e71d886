package gate

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/usher-sidecar/usher/envelope"
	"github.com/usher-sidecar/usher/sidecar/account"
)

// Errors of sessions.
var (
	// ErrSessionUnknown is the one answer to an id that was never given out, to
	// one whose session has ended, and to one shown with another ticket than the
	// session's own.
	ErrSessionUnknown = errors.New("no such session")
	ErrSessionsFull   = errors.New("as many sessions are open as may be")
	ErrSessionsClosed = errors.New("no session is opened any more")
)

// Sessions are those that are open. A session begins with a ticket that was
// verified, and lets in, until it ends, whoever shows its id together with that
// ticket. Make them with NewSessions; safe for concurrent use.
//
// Neither ids nor tickets are kept, only what they hash to: finding one costs the
// same comparison whether there is a session or not, and nothing that is held here
// opens one.
type Sessions struct {
	most     int
	ended    func(s *Session, why Cause, cut int)
	earlier  chan struct{} // the next expiry is sooner than it was
	requests atomic.Uint64 // that came in one

	mu     sync.Mutex
	open   map[mark]*Session
	due    dues
	ending int           // have ended, and were not laid to rest yet
	closed bool          // no other is opened
	quiet  chan struct{} // closed when closed, and none is open or ending
}

// A Session is one of them. Its exported fields do not change.
type Session struct {
	Created  time.Time
	Lifetime time.Duration

	AuthData       []byte          // the creating ticket, as it was given
	OnCloseRoute   string          // is called when it ends; "": nothing is
	OnClosePayload []byte          // as it was given; nil: none was
	ClosingBody    []byte          // of that call
	Account        account.Request // of the request that created it

	sessions *Sessions
	id       mark
	ticket   mark
	rested   chan struct{} // closed by Rest

	// The mutex of sessions guards what follows.
	expires  time.Time
	place    int // in sessions.due
	inside   map[Occupant]struct{}
	requests uint64
	over     bool
	idle     chan struct{} // closed when over, and nobody is inside
}

// An Occupant is a request of a session.
type Occupant interface {
	// SessionEnded has the request end; it must not block.
	SessionEnded()
	// SessionOverdue ends it by force, where it did not; it must not block.
	SessionOverdue()
}

// A Cause is why a session ended.
type Cause uint8

// The causes.
const (
	Closed  Cause = iota // its client said so
	Expired              // nobody used it for its lifetime
	Drained              // the worker leaves

	// Causes is how many there are; each is below it.
	Causes
)

// String is the cause as a label.
func (c Cause) String() string { return [...]string{"closed", "expired", "drained"}[c] }

// maxLead bounds how far ahead an expiry is moved, within what a Duration holds.
const maxLead = 100 * 365 * 24 * time.Hour

// NewSessions makes room for most sessions at once. ended is told of each that has
// ended, and how many requests were told to end with it, by the goroutine that
// ended it; it must not block. Rest is to be called once for each of them.
func NewSessions(most int, ended func(s *Session, why Cause, cut int)) *Sessions {
	return &Sessions{
		most: most, ended: ended, earlier: make(chan struct{}, 1),
		open: make(map[mark]*Session), quiet: make(chan struct{}),
	}
}

// Open opens a session with a ticket that was verified, and returns its id, which
// nobody can guess. The session's exported fields are the caller's to fill in
// before, but for Created. Errors: ErrSessionsFull, ErrSessionsClosed.
func (s *Sessions) Open(session *Session, ticket *envelope.Ticket, now time.Time) (id string, err error) {
	var random [18]byte // 144 bits, a whole number of base64's digits
	_, _ = rand.Read(random[:])
	id = base64.RawURLEncoding.EncodeToString(random[:])
	session.Created, session.expires = now, now.Add(session.Lifetime)
	session.sessions, session.id, session.ticket = s, sha256.Sum256([]byte(id)), markOf(ticket)
	session.inside, session.idle, session.rested = make(map[Occupant]struct{}), make(chan struct{}), make(chan struct{})

	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return "", ErrSessionsClosed
	case len(s.open) >= s.most:
		return "", ErrSessionsFull
	}
	s.open[session.id] = session
	s.due.add(session)
	if session.place == 0 {
		select {
		case s.earlier <- struct{}{}:
		default:
		}
	}
	return id, nil
}

// Enter lets a request into a session, until Leave, and moves the session's expiry
// on by its lifetime. Error: ErrSessionUnknown.
func (s *Sessions) Enter(id []byte, ticket *envelope.Ticket, o Occupant, now time.Time) (*Session, error) {
	name, shown := sha256.Sum256(id), markOf(ticket)
	s.mu.Lock()
	defer s.mu.Unlock()
	session := s.find(name, shown, now)
	if session == nil {
		return nil, ErrSessionUnknown
	}
	session.expires = session.expires.Add(session.Lifetime)
	if latest := now.Add(maxLead); session.expires.After(latest) {
		session.expires = latest
	}
	s.due.moved(session)
	session.inside[o] = struct{}{}
	session.requests++
	s.requests.Add(1)
	return session, nil
}

// Leave lets a request out of the session that it entered.
func (s *Session) Leave(o Occupant) {
	all := s.sessions
	all.mu.Lock()
	_, was := s.inside[o]
	delete(s.inside, o)
	last := was && len(s.inside) == 0
	if last && s.over {
		close(s.idle)
	}
	drained := last && !s.over && all.closed
	if drained {
		all.remove(s)
	}
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
		all.remove(s)
	}
	all.mu.Unlock()
	if open {
		all.finish(Closed, s)
	}
}

// Find returns a session and when it expires. Error: ErrSessionUnknown.
func (s *Sessions) Find(id []byte, ticket *envelope.Ticket, now time.Time) (*Session, time.Time, error) {
	name, shown := sha256.Sum256(id), markOf(ticket)
	s.mu.Lock()
	defer s.mu.Unlock()
	session := s.find(name, shown, now)
	if session == nil {
		return nil, time.Time{}, ErrSessionUnknown
	}
	return session, session.expires, nil
}

// End ends a session for its client. Error: ErrSessionUnknown.
func (s *Sessions) End(id []byte, ticket *envelope.Ticket, now time.Time) (*Session, error) {
	name, shown := sha256.Sum256(id), markOf(ticket)
	s.mu.Lock()
	session := s.find(name, shown, now)
	if session != nil {
		s.remove(session)
	}
	s.mu.Unlock()
	if session == nil {
		return nil, ErrSessionUnknown
	}
	s.finish(Closed, session)
	return session, nil
}

// find is the one comparison of tickets. The mutex is held.
func (s *Sessions) find(id, ticket mark, now time.Time) *Session {
	session, want := s.open[id], &nobody
	if session != nil {
		want = &session.ticket
	}
	same := subtle.ConstantTimeCompare(ticket[:], want[:]) == 1
	if session == nil || !same || !now.Before(session.expires) {
		return nil
	}
	return session
}

// remove takes a session out of the open ones; finish has to follow, without the
// mutex, which is held here.
func (s *Sessions) remove(session *Session) {
	delete(s.open, session.id)
	s.due.remove(session)
	session.over = true
	if len(session.inside) == 0 {
		close(session.idle)
	}
	s.ending++
}

// Force ends, by force, the requests that are still inside.
func (s *Session) Force() {
	for _, o := range s.occupants() {
		o.SessionOverdue()
	}
}

// occupants are those who are inside now.
func (s *Session) occupants() []Occupant {
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	return slices.Collect(maps.Keys(s.inside))
}

// finish has the requests of sessions that were removed end, and tells of it.
func (s *Sessions) finish(cause Cause, list ...*Session) {
	for _, session := range list {
		inside := session.occupants()
		for _, o := range inside {
			o.SessionEnded()
		}
		s.ended(session, cause, len(inside))
	}
}

// Idle is closed when the session has ended and the last of its requests left.
func (s *Session) Idle() <-chan struct{} { return s.idle }

// Rest says, once, that all is done that had to be after the session's end.
func (s *Session) Rest() {
	close(s.rested)
	all := s.sessions
	all.mu.Lock()
	all.ending--
	all.settle()
	all.mu.Unlock()
}

// Rested is closed by Rest.
func (s *Session) Rested() <-chan struct{} { return s.rested }

// settle notices that it is quiet. The mutex is held.
func (s *Sessions) settle() {
	if s.closed && len(s.open) == 0 && s.ending == 0 {
		select {
		case <-s.quiet:
		default:
			close(s.quiet)
		}
	}
}
