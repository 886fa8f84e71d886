// Package envelope opens what a client sent: it finds the ticket in the body,
// flat or nested, and cuts out what is for the model server, byte for byte. It
// is strict where the ticket is, so that what is verified is what is used, and
// as lenient as RFC 8259 inside the model's own values.
package envelope

import (
	"errors"
	"strings"

	"github.com/usher-sidecar/usher/crypto"
)

// Errors of this package.
var (
	// ErrInvalidJSON: not one acceptable JSON object.
	ErrInvalidJSON = errors.New("invalid JSON")
	// ErrInvalidHeader: what stands in the head as a ticket is none. ErrInvalidJSON
	// is wrapped beside it.
	ErrInvalidHeader = errors.New("ticket in the head")
	// ErrInvalidTicket is what a *TicketError wraps.
	ErrInvalidTicket = errors.New("invalid ticket")
	// ErrDuplicateMember: a member that the cost policy reads stands twice.
	ErrDuplicateMember = errors.New("a limit stands twice")
	// ErrEndpointMismatch: the ticket is for another endpoint group.
	ErrEndpointMismatch = errors.New("endpoint is not this worker's")
	// ErrURLMismatch: the ticket is for another worker.
	ErrURLMismatch = errors.New("url is not this worker's")

	errNoString = errors.New("not a string")
)

// A TicketError names every fault of a ticket, a short sentence each.
type TicketError struct {
	Faults []string
}

// Error lists the faults.
func (e *TicketError) Error() string { return "invalid ticket: " + strings.Join(e.Faults, "; ") }

// Unwrap makes errors.Is(err, ErrInvalidTicket) hold.
func (e *TicketError) Unwrap() error { return ErrInvalidTicket }

// Form is where the ticket stands.
type Form uint8

// The forms.
const (
	Flat   Form = iota // beside the model's own members
	Nested             // under auth_data, the model's body under payload
	InHead             // not at all: it stands in the head, and the body is the model's own
)

// String is the form in a word or three.
func (f Form) String() string {
	switch f {
	case Nested:
		return "nested"
	case InHead:
		return "in the head"
	}
	return "flat"
}

// A Ticket is what the autoscaler gave the client, as the client passed it on.
type Ticket struct {
	crypto.Message
	Signature []byte // nil: empty, or not standard base64
}

// An Envelope is an opened request body.
type Envelope struct {
	Ticket  Ticket
	Form    Form
	Payload []byte // what is forwarded: one JSON object, a cut of the body; where the ticket stands InHead, what TakeBody was given
	Session []byte // id of the session that a nested body belongs to; nil: none

	limits limits
}

// Options say what a ticket must hold.
type Options struct {
	ReqnumOptional bool // where not every accepted alternative signs reqnum
}

// maxDepth is how deep the body may nest, its own object counted.
const maxDepth = 512

// Parse opens a body, as Open does.
func Parse(body []byte, opt Options) (Envelope, error) {
	var env Envelope
	err := env.Open(body, opt)
	return env, err
}

// Open makes e the envelope of a body; with an error it is the zero value. It
// takes the body over: the payload is a part of it, and is moved together in
// place. Errors: ErrInvalidJSON, wrapped with what and where but never with
// content; *TicketError.
func (e *Envelope) Open(body []byte, opt Options) error {
	*e = Envelope{}
	s := scanners.Get().(*scanner)
	defer s.release()
	if err := s.scan(body); err != nil {
		return err
	}
	members, faults := &s.flat, []string(nil)
	if s.authData.present() {
		members, faults = &s.auth, s.nestedFaults()
	}
	d := decoder{body: body, opt: opt, faults: faults}
	ticket := d.ticket(members)
	if d.err != nil {
		return d.err
	}
	if len(d.faults) > 0 {
		return &TicketError{d.faults}
	}
	e.Ticket = ticket
	if s.authData.present() {
		e.Form, e.limits, e.Payload = Nested, s.nested, body[s.payload.from:s.payload.to]
		e.Session = s.named()
	} else {
		e.limits, e.Payload = s.top, s.cut(body)
	}
	return nil
}

// nestedFaults names what a nested body should hold and does not.
func (s *scanner) nestedFaults() (faults []string) {
	if s.authData.present() && s.authData.kind != '{' {
		faults = append(faults, "auth_data is not an object")
	}
	switch {
	case !s.payload.present():
		faults = append(faults, "payload is missing")
	case s.payload.kind != '{':
		faults = append(faults, "payload is not an object")
	}
	return faults
}
