package envelope

import (
	"fmt"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

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

// A value is where in the body a member's value is.
type value struct {
	from, to int
	kind     jsontext.Kind // 0 if the member is absent
}

func (v value) present() bool { return v.kind != 0 }

// A scanner goes over a body once and notes where everything of interest is:
// the ticket's members, flat or nested, the limits that the cost policy reads,
// and the runs of members that are forwarded from a flat body.
type scanner struct {
	json reader
	body []byte

	flat, auth        [memberCount]value
	authData, payload value
	session           value
	top, nested       limits
	runs              []run
	running           bool // the last run goes on
	open, closed      int  // offsets of the body's braces
	names             [3]names
}

// A run is a stretch of members that are kept, their commas between them.
type run struct{ from, to int }

var scanners = sync.Pool{New: func() any { return new(scanner) }}

// release drops the body and returns the scanner's memory to the pool.
func (s *scanner) release() {
	runs, names := s.runs[:0], s.names
	for i := range names {
		names[i].reset()
	}
	*s = scanner{runs: runs, names: names}
	scanners.Put(s)
}

// scan reads the whole body. It is strict about the ticket; duplicate names and
// lone surrogates elsewhere are for the model server to judge.
func (s *scanner) scan(body []byte) error {
	if err := s.scanBy(body, s.topMember); err != nil {
		return err
	}
	if s.running {
		s.runs[len(s.runs)-1].to = s.closed
	}
	return nil
}

// scanBy reads the whole body and has member read each of its members.
func (s *scanner) scanBy(body []byte, member func(name []byte, at int) error) error {
	if i := invalidUTF8(body); i >= 0 {
		return invalid("not UTF-8", i)
	}
	s.read(body)
	if s.json.peek() != '{' {
		if _, ok := s.json.value(); !ok {
			return s.syntax()
		}
		return invalid("not an object", 0)
	}
	s.open = s.json.at
	if err := s.object(&s.names[0], member); err != nil {
		return err
	}
	s.closed = s.json.at - 1
	if s.json.peek(); s.json.at < len(body) {
		return invalid("bytes after the object", s.closed+1)
	}
	return nil
}

// read starts at the beginning of body.
func (s *scanner) read(body []byte) { s.body, s.json = body, reader{b: body} }

// object reads an object, whose brace comes next. It calls member with each decoded
// name and its offset; member must read the value. A name that is already in seen
// is an error; with a nil seen, names may repeat.
func (s *scanner) object(seen *names, member func(name []byte, at int) error) error {
	if !s.json.open() {
		return s.syntax()
	}
	if s.json.close('}') {
		return nil
	}
	for {
		if s.json.peek() != '"' {
			return s.syntax()
		}
		at := s.json.at
		if !s.json.text() {
			return s.syntax()
		}
		name := unquoteName(s.body[at:s.json.at])
		if seen != nil && !seen.add(name) {
			return invalid("a member name appears twice", at)
		}
		if !s.json.take(':') {
			return s.syntax()
		}
		if err := member(name, at); err != nil {
			return err
		}
		if s.json.take(',') {
			continue
		}
		if !s.json.close('}') {
			return s.syntax()
		}
		return nil
	}
}

// value skips a value and returns where it is.
func (s *scanner) value() (value, error) {
	s.json.peek()
	from := s.json.at
	kind, ok := s.json.value()
	if !ok {
		return value{}, s.syntax()
	}
	return value{from, s.json.at, kind}, nil
}

// within is like value, but has member read the members of an object.
func (s *scanner) within(seen *names, member func([]byte, int) error) (value, error) {
	if s.json.peek() != '{' {
		return s.value()
	}
	from := s.json.at
	if err := s.object(seen, member); err != nil {
		return value{}, err
	}
	return value{from, s.json.at, '{'}, nil
}

// topMember reads a member of the body's own object.
func (s *scanner) topMember(name []byte, at int) (err error) {
	var v value
	field := ticketMember(name)
	switch {
	case field >= 0:
		if v, err = s.value(); err == nil {
			s.flat[field] = v
			s.running = false
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
		v, err = s.modelMember(&s.top, dialect.Body, name)
	}
	if err != nil {
		return err
	}
	s.keep(at, v.to)
	return nil
}

// keep adds a member to the current run, or begins a run. White space next to the
// body's braces belongs to the run beside it.
func (s *scanner) keep(from, to int) {
	if s.running {
		s.runs[len(s.runs)-1].to = to
		return
	}
	if len(s.runs) == 0 && !s.anyTicketMember() {
		from = s.open + 1
	}
	s.runs = append(s.runs, run{from, to})
	s.running = true
}

func (s *scanner) anyTicketMember() bool {
	for _, v := range s.flat {
		if v.present() {
			return true
		}
	}
	return false
}

func ticketMember(name []byte) int {
	for i, n := range ticketNames {
		if string(name) == n {
			return i
		}
	}
	return -1
}

func (s *scanner) authMember(name []byte, _ int) error { return s.ticketMember(&s.auth, name) }

// headMember reads a member of a ticket from the head.
func (s *scanner) headMember(name []byte, _ int) error { return s.ticketMember(&s.flat, name) }

// ticketMember reads a member of an object that holds only a ticket. Unknown ones
// are ignored.
func (s *scanner) ticketMember(of *[memberCount]value, name []byte) error {
	v, err := s.value()
	if field := ticketMember(name); err == nil && field >= 0 {
		of[field] = v
	}
	return err
}

// bodyMember reads a member of a body that is the model's own.
func (s *scanner) bodyMember(name []byte, _ int) error {
	_, err := s.modelMember(&s.top, dialect.Body, name)
	return err
}

func (s *scanner) payloadMember(name []byte, _ int) error {
	_, err := s.modelMember(&s.nested, dialect.Body, name)
	return err
}

// syntax returns the error for where the reader stopped. It quotes no content.
func (s *scanner) syntax() error {
	switch {
	case s.json.at >= len(s.body):
		return invalid("it ends too early", len(s.body))
	case s.json.tooDeep():
		return invalid(fmt.Sprintf("nested deeper than %d", maxDepth), s.json.at)
	}
	return invalid("a syntax error", s.json.at)
}

func invalid(what string, at int) error {
	return fmt.Errorf("%w: %s, at offset %d", ErrInvalidJSON, what, at)
}

func invalidUTF8(body []byte) int {
	if utf8.Valid(body) {
		return -1
	}
	for i := 0; i < len(body); {
		r, size := utf8.DecodeRune(body[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}
