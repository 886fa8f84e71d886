// Package envelope parses what a client sent: it finds the ticket in the body,
// flat or nested, and cuts out the part for the model server, byte for byte. It
// is strict about the ticket, so that what was verified is what is used, and as
// lenient as RFC 8259 allows inside the values meant for the model.
package envelope

import (
	"errors"
	"strings"

	"github.com/usher-sidecar/usher/crypto"
)

// Errors of this package.
var (
	// ErrInvalidJSON: the input is not a single acceptable JSON object.
	ErrInvalidJSON = errors.New("invalid JSON")
	// ErrInvalidHeader: the ticket in the request's head cannot be decoded. Errors
	// that wrap it wrap ErrInvalidJSON as well.
	ErrInvalidHeader = errors.New("ticket in the head")
	// ErrInvalidTicket is wrapped by every *TicketError.
	ErrInvalidTicket = errors.New("invalid ticket")
	// ErrDuplicateMember: a member that the cost policy reads appears twice.
	ErrDuplicateMember = errors.New("a limit appears twice")
	// ErrEndpointMismatch: the ticket is for another endpoint group.
	ErrEndpointMismatch = errors.New("endpoint is not this worker's")
	// ErrURLMismatch: the ticket is for another worker.
	ErrURLMismatch = errors.New("url is not this worker's")

	errNoString = errors.New("not a string")
)

// A TicketError names every fault of a ticket, each in a short sentence.
type TicketError struct {
	Faults []string
}

// Error lists the faults.
func (e *TicketError) Error() string { return "invalid ticket: " + strings.Join(e.Faults, "; ") }

// Unwrap returns ErrInvalidTicket.
func (e *TicketError) Unwrap() error { return ErrInvalidTicket }

// Form says where in the request the ticket is.
type Form uint8

// The forms.
const (
	Flat   Form = iota // in the body, beside the model's own members
	Nested             // in the body under auth_data, with the model's body under payload
	InHead             // in the head; the body is the model's own
)

// String returns "flat", "nested" or "in the head".
func (f Form) String() string {
	switch f {
	case Nested:
		return "nested"
	case InHead:
		return "in the head"
	}
	return "flat"
}

// A Ticket is what the autoscaler issued, as the client passed it on.
type Ticket struct {
	crypto.Message
	Signature []byte // nil if empty or not standard base64
}

// An Envelope is an opened request body.
type Envelope struct {
	Ticket  Ticket
	Form    Form
	Payload []byte // to forward: a JSON object that aliases the body; with InHead, what TakeBody was given
	Session []byte // id of the session that a nested body names; nil if none

	limits limits
}

// Options say what a ticket must contain.
type Options struct {
	ReqnumOptional bool // reqnum may be absent or null: not every accepted set of signed fields includes it
}

// maxDepth is how deep the body may nest, counting the outermost object.
const maxDepth = 512

// Parse returns the envelope that Open makes of a body.
func Parse(body []byte, opt Options) (Envelope, error) {
	var env Envelope
	err := env.Open(body, opt)
	return env, err
}

// Open makes e the envelope of a body. It takes ownership of the body, which it
// edits in place and which the payload aliases. On error e is the zero value.
// Errors: ErrInvalidJSON, wrapped with the fault and its offset but never with
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
		e.limits, e.Payload = s.top, s.kept.cut(body)
	}
	return nil
}

// nestedFaults names what is missing from, or wrong with, a nested body's own
// members.
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
