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

// Sessions holds the open sessions. A session begins with a verified ticket and
// lets in, until it ends, requests that have its id together with that ticket. Make
// them with NewSessions; safe for concurrent use.
//
// Neither ids nor tickets are kept, only their hashes. Finding a session costs the
// same comparison whether it exists or not, and nothing kept here can open one.
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

// NewSessions allows most sessions at a time. ended is called for each session that
// has ended, with the number of requests that were told to end, by the goroutine
// that ended it; it must not block. Call Rest once for each of them.
func NewSessions(most int, ended func(s *Session, why Cause, cut int)) *Sessions {
	return &Sessions{
		most: most, ended: ended, earlier: make(chan struct{}, 1),
		open: make(map[mark]*Session), quiet: make(chan struct{}),
	}
}

// Open opens a session with a verified ticket, and returns its id, which cannot be
// guessed. The caller fills in the session's exported fields before, except
// Created. Errors: ErrSessionsFull, ErrSessionsClosed.
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

// find makes the one comparison of tickets. The mutex is held.
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

// remove removes a session from the open ones. The mutex is held; call finish after
// releasing it.
func (s *Sessions) remove(session *Session) {
	delete(s.open, session.id)
	s.due.remove(session)
	session.over = true
	if len(session.inside) == 0 {
		close(session.idle)
	}
	s.ending++
}

// finish ends the requests of removed sessions and calls ended.
func (s *Sessions) finish(cause Cause, list ...*Session) {
	for _, session := range list {
		inside := session.occupants()
		for _, o := range inside {
			o.SessionEnded()
		}
		s.ended(session, cause, len(inside))
	}
}

// settle closes quiet if it is time. The mutex is held.
func (s *Sessions) settle() {
	if s.closed && len(s.open) == 0 && s.ending == 0 {
		select {
		case <-s.quiet:
		default:
			close(s.quiet)
		}
	}
}
