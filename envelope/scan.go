package envelope

import (
	"sync"

	"github.com/usher-sidecar/usher/dialect"
)

// The members of a ticket, in the order of ticketNames.
const (
	memberCost = iota
	memberEndpoint
	memberReqnum
	memberRequestIdx
	memberSignature
	memberURL
	memberCount
)

var ticketNames = [memberCount]string{"cost", "endpoint", "reqnum", "request_idx", "signature", "url"}

// ticketMembers is where the members of a ticket are.
type ticketMembers [memberCount]value

// ticketMember returns the index of a name among ticketNames, or -1.
func ticketMember(name []byte) int {
	for i, n := range ticketNames {
		if string(name) == n {
			return i
		}
	}
	return -1
}

// read reads a member of an object that holds only a ticket. Unknown ones are
// ignored.
func (m *ticketMembers) read(w *walker, name []byte) error {
	v, err := w.value()
	if field := ticketMember(name); err == nil && field >= 0 {
		m[field] = v
	}
	return err
}

// A scanner goes over a body once and notes where everything of interest is:
// the ticket's members, flat or nested, the limits that the cost policy reads,
// and the runs of members that are forwarded from a flat body.
type scanner struct {
	walker

	flat, auth        ticketMembers
	authData, payload value
	session           value
	top, nested       limits
	kept              kept
	names             [3]names
}

var scanners = sync.Pool{New: func() any { return new(scanner) }}

// release drops the body and returns the scanner's memory to the pool.
func (s *scanner) release() {
	runs, names := s.kept.runs[:0], s.names
	for i := range names {
		names[i].reset()
	}
	*s = scanner{kept: kept{runs: runs}, names: names}
	scanners.Put(s)
}

// scan reads the whole body. It is strict about the ticket; duplicate names and
// lone surrogates elsewhere are for the model server to judge.
func (s *scanner) scan(body []byte) error {
	if err := s.walk(body, &s.names[0], s.topMember); err != nil {
		return err
	}
	s.kept.stretch(s.open+1, s.closed)
	return nil
}

// topMember reads a member of the body's own object.
func (s *scanner) topMember(name []byte, at int) (err error) {
	var v value
	field := ticketMember(name)
	switch {
	case field >= 0:
		if v, err = s.value(); err == nil {
			s.flat[field] = v
			s.kept.drop()
		}
		return err
	case string(name) == "auth_data":
		s.authData, err = s.within(&s.names[1], s.authMember)
		v = s.authData
	case string(name) == "payload":
		s.payload, err = s.within(nil, s.payloadMember)
		v = s.payload
	case string(name) == "session_id":
		s.session, err = s.value()
		v = s.session
	default:
		v, err = s.top.read(&s.walker, dialect.Body, name)
	}
	if err != nil {
		return err
	}
	s.kept.keep(at, v.to)
	return nil
}

func (s *scanner) authMember(name []byte, _ int) error { return s.auth.read(&s.walker, name) }

// headMember reads a member of a ticket from the head.
func (s *scanner) headMember(name []byte, _ int) error { return s.flat.read(&s.walker, name) }

// bodyMember reads a member of a body that is the model's own.
func (s *scanner) bodyMember(name []byte, _ int) error {
	_, err := s.top.read(&s.walker, dialect.Body, name)
	return err
}

func (s *scanner) payloadMember(name []byte, _ int) error {
	_, err := s.nested.read(&s.walker, dialect.Body, name)
	return err
}
