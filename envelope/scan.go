package envelope

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
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

// A value is where a member's value stands in the body.
type value struct {
	from, to int
	kind     jsontext.Kind // of its first byte; 0: the member is absent
}

func (v value) present() bool { return v.kind != 0 }

// A scanner goes over a body once and notes where everything of interest is:
// the ticket's members, flat or nested, the limits that the cost policy reads,
// and the runs of members that are forwarded from a flat body.
type scanner struct {
	dec  *jsontext.Decoder
	buf  bytes.Buffer
	body []byte

	flat, auth        [memberCount]value
	authData, payload value
	top, nested       limits
	runs              []run
	running           bool // the last run goes on
	open, closed      int  // offsets of the body's braces
	names             [3]names
}

// A run is a stretch of members that are kept, their commas between them.
type run struct{ from, to int }

var scanners = sync.Pool{New: func() any { return &scanner{dec: new(jsontext.Decoder)} }}

// release lets go of the body and keeps the memory.
func (s *scanner) release() {
	runs, names, dec := s.runs[:0], s.names, s.dec
	for i := range names {
		names[i].reset()
	}
	*s = scanner{dec: dec, runs: runs, names: names}
	scanners.Put(s)
}

// scan reads the whole body. jsontext is the strict parser; what it checks too
// much is turned off (names and surrogates are the model's own business below
// the ticket), and what it does not know is checked here.
func (s *scanner) scan(body []byte) error {
	if i := invalidUTF8(body); i >= 0 {
		return invalid("not UTF-8", i)
	}
	if i := tooDeep(body); i >= 0 {
		return invalid(fmt.Sprintf("nested deeper than %d", maxDepth), i)
	}
	s.body = body
	s.buf = *bytes.NewBuffer(body)
	s.dec.Reset(&s.buf, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if s.dec.PeekKind() != '{' {
		if _, err := s.dec.ReadToken(); err != nil {
			return s.syntax(err)
		}
		return invalid("not an object", 0)
	}
	err := s.object(&s.names[0], s.topMember)
	if err != nil {
		return err
	}
	s.closed = int(s.dec.InputOffset()) - 1
	if _, err := s.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return invalid("bytes after the object", s.closed+1)
	}
	if s.running {
		s.runs[len(s.runs)-1].to = s.closed
	}
	return nil
}

// object reads an object, member by member. member is called with the decoded
// name and where it begins, and has to read the value. seen may be nil where
// names may stand twice.
func (s *scanner) object(seen *names, member func(name []byte, at int) error) error {
	if _, err := s.dec.ReadToken(); err != nil {
		return s.syntax(err)
	}
	if seen == &s.names[0] {
		s.open = int(s.dec.InputOffset()) - 1
	}
	for s.dec.PeekKind() != '}' {
		raw, err := s.dec.ReadValue()
		if err != nil {
			return s.syntax(err)
		}
		at := int(s.dec.InputOffset()) - len(raw)
		name := unquoteName(raw)
		if seen != nil && !seen.add(name) {
			return invalid("a member name stands twice", at)
		}
		if err := member(name, at); err != nil {
			return err
		}
	}
	if _, err := s.dec.ReadToken(); err != nil {
		return s.syntax(err)
	}
	return nil
}

// value reads a value whole and says where it is.
func (s *scanner) value() (value, error) {
	kind := s.dec.PeekKind()
	raw, err := s.dec.ReadValue()
	if err != nil {
		return value{}, s.syntax(err)
	}
	to := int(s.dec.InputOffset())
	return value{to - len(raw), to, kind}, nil
}

// within reads an object by its members and says where it is; any other value
// is read whole.
func (s *scanner) within(seen *names, member func([]byte, int) error) (value, error) {
	kind := s.dec.PeekKind()
	if kind != '{' {
		return s.value()
	}
	// The decoder stands at the colon; the brace is the next byte that is one.
	from := int(s.dec.InputOffset())
	from += bytes.IndexByte(s.body[from:], '{')
	if err := s.object(seen, member); err != nil {
		return value{}, err
	}
	return value{from, int(s.dec.InputOffset()), kind}, nil
}

// topMember reads a member of the body itself.
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
	default:
		v, err = s.modelMember(&s.top, name)
	}
	if err != nil {
		return err
	}
	s.keep(at, v.to)
	return nil
}

// keep adds a member to the run under way, or begins one. White space at the
// body's edges belongs to the run beside it.
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

func (s *scanner) authMember(name []byte, _ int) error {
	v, err := s.value()
	if field := ticketMember(name); err == nil && field >= 0 {
		s.auth[field] = v
	}
	return err
}

func (s *scanner) payloadMember(name []byte, _ int) error {
	_, err := s.modelMember(&s.nested, name)
	return err
}

// syntax turns jsontext's error into ours: what and where, without content.
func (s *scanner) syntax(err error) error {
	at := int(s.dec.InputOffset())
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) {
		at = int(syntactic.ByteOffset)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return invalid("it ends too early", len(s.body))
	}
	return invalid("a syntax error", at)
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

// tooDeep returns where the nesting exceeds maxDepth, or -1. Counting brackets
// settles it for nearly every body at memory speed.
func tooDeep(body []byte) int {
	if bytes.Count(body, []byte{'['})+bytes.Count(body, []byte{'{'}) <= maxDepth {
		return -1
	}
	depth, inString := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '[' || c == '{':
			if depth++; depth > maxDepth {
				return i
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return -1
}
