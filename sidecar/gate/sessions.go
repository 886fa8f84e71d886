package gate

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/usher-sidecar/usher/envelope"
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
