package gate

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/usher-sidecar/usher/envelope"
)

// Errors of sessions.
var (
	// ErrSessionUnknown is returned alike for an id that was never given out, for one
	// whose session has ended, and for one that comes with another ticket than the
	// session's.
	ErrSessionUnknown = errors.New("no such session")
	ErrSessionsFull   = errors.New("the maximum number of sessions is open")
	ErrSessionsClosed = errors.New("no more sessions are opened")
)

// Sessions holds the open sessions. A session is opened with a verified ticket. Until
// it ends, it admits requests that show its id together with that ticket. Make Sessions
// with NewSessions; it is safe for concurrent use.
//
// Only hashes of ids and tickets are kept. Looking up a session takes the same
// comparison whether it exists or not, and nothing that is kept would give access to
// one.
type Sessions struct {
	ended   func(s *Session, why Cause, cut int)
	earlier chan struct{} // tells Run that the next expiry is sooner than it was

	mu       sync.Mutex
	register register
}

// NewSessions allows most sessions at a time. For each session that has ended, the
// goroutine that ended it calls ended, with the number of requests that were told to
// end. It must not block, and must see to it that Rest is called once.
func NewSessions(most int, ended func(s *Session, why Cause, cut int)) *Sessions {
	return &Sessions{
		ended: ended, earlier: make(chan struct{}, 1),
		register: register{most: most, open: make(map[mark]*Session), quiet: make(chan struct{})},
	}
}

// Open opens a session with a verified ticket, and returns it with its id, which
// cannot be guessed. Errors: ErrSessionsFull, ErrSessionsClosed.
func (s *Sessions) Open(terms Terms, ticket *envelope.Ticket, now time.Time) (session *Session, id string, err error) {
	var random [18]byte // 144 bits, a whole number of base64 digits
	_, _ = rand.Read(random[:])
	id = base64.RawURLEncoding.EncodeToString(random[:])
	session = &Session{
		Terms: terms, Created: now, expires: now.Add(terms.Lifetime),
		sessions: s, id: sha256.Sum256([]byte(id)), ticket: markOf(ticket),
		inside: make(map[Occupant]struct{}), idle: make(chan struct{}), rested: make(chan struct{}),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err = s.register.add(session); err != nil {
		return nil, "", err
	}
	if session.place == 0 {
		select {
		case s.earlier <- struct{}{}:
		default:
		}
	}
	return session, id, nil
}

// Enter lets a request into a session, until Leave, and moves the session's expiry
// on by its lifetime. Error: ErrSessionUnknown.
func (s *Sessions) Enter(id []byte, ticket *envelope.Ticket, o Occupant, now time.Time) (*Session, error) {
	name, shown := sha256.Sum256(id), markOf(ticket)
	s.mu.Lock()
	defer s.mu.Unlock()
	session := s.register.find(name, shown, now)
	if session == nil {
		return nil, ErrSessionUnknown
	}
	s.register.enter(session, o, now)
	return session, nil
}

// Find returns a session and when it expires. Error: ErrSessionUnknown.
func (s *Sessions) Find(id []byte, ticket *envelope.Ticket, now time.Time) (*Session, time.Time, error) {
	name, shown := sha256.Sum256(id), markOf(ticket)
	s.mu.Lock()
	defer s.mu.Unlock()
	session := s.register.find(name, shown, now)
	if session == nil {
		return nil, time.Time{}, ErrSessionUnknown
	}
	return session, session.expires, nil
}

// End ends a session for its client. Error: ErrSessionUnknown.
func (s *Sessions) End(id []byte, ticket *envelope.Ticket, now time.Time) (*Session, error) {
	name, shown := sha256.Sum256(id), markOf(ticket)
	s.mu.Lock()
	session := s.register.find(name, shown, now)
	if session != nil {
		s.register.remove(session)
	}
	s.mu.Unlock()
	if session == nil {
		return nil, ErrSessionUnknown
	}
	s.finish(Closed, session)
	return session, nil
}

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

// longest is how long Run sleeps while no session is open.
const longest = time.Hour

// Expire ends the sessions that have expired by now, and returns how long it takes
// until the next one does.
func (s *Sessions) Expire(now time.Time) time.Duration {
	s.mu.Lock()
	expired, next := s.register.expire(now)
	s.mu.Unlock()
	s.finish(Expired, expired...)
	return next
}

// Drain stops new sessions and ends each one as soon as it has no request.
func (s *Sessions) Drain() {
	s.mu.Lock()
	idle := s.register.close(false)
	s.mu.Unlock()
	s.finish(Drained, idle...)
}

// Close stops new sessions and ends all.
func (s *Sessions) Close() {
	s.mu.Lock()
	all := s.register.close(true)
	s.mu.Unlock()
	s.finish(Drained, all...)
}

// finish ends the requests of removed sessions, and calls ended.
func (s *Sessions) finish(cause Cause, list ...*Session) {
	for _, session := range list {
		inside := session.occupants()
		for _, o := range inside {
			o.SessionEnded()
		}
		s.ended(session, cause, len(inside))
	}
}

// Quiet returns a channel that is closed once Drain or Close was called and Rest has
// been called for the last session.
func (s *Sessions) Quiet() <-chan struct{} { return s.register.quiet }

// A View is a session as operators see it.
type View struct {
	Age      time.Duration
	Left     time.Duration // until it expires
	Requests uint64        // so far
	Inside   int           // requests in it now
}

// A Count is how many sessions there are.
type Count struct {
	Open     int
	Requests uint64 // in sessions, since the start
}

// Count returns how many sessions there are.
func (s *Sessions) Count() Count {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Count{len(s.register.open), s.register.requests}
}

// Views returns the oldest sessions, at most most of them.
func (s *Sessions) Views(now time.Time, most int) []View {
	s.mu.Lock()
	list := make([]View, 0, len(s.register.open))
	for _, session := range s.register.open {
		list = append(list, View{now.Sub(session.Created), session.expires.Sub(now), session.requests, len(session.inside)})
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b View) int { return cmp.Compare(b.Age, a.Age) })
	return list[:min(len(list), most)]
}
