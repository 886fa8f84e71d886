package envelope

import (
	"bytes"
	"encoding/base64"
	"fmt"
)

// MaxHeader is how long a ticket in the head may be, in bytes of base64url.
const MaxHeader = 8 << 10

// HeaderTicket finds a ticket in the value of an Authorization field: base64url of
// its JSON object behind "SignedRoute ", or behind "Bearer sr.", which every
// client sends that can be given an API key. It reports false for any other value:
// a customer's key. Schemes are read in any case (RFC 9110 section 11.1).
func HeaderTicket(value []byte) (token []byte, ok bool) {
	scheme, rest, _ := bytes.Cut(value, []byte(" "))
	rest = bytes.Trim(rest, " \t")
	switch {
	case isScheme(scheme, "SignedRoute"):
		return rest, true
	case isScheme(scheme, "Bearer"):
		return bytes.CutPrefix(rest, []byte("sr."))
	}
	return nil, false
}

// isScheme compares in ASCII: what folds to a letter in Unicode is longer.
func isScheme(scheme []byte, name string) bool {
	return len(scheme) == len(name) && bytes.EqualFold(scheme, []byte(name))
}

// OpenHeader makes e the envelope of a request whose ticket stands in the head, as
// HeaderTicket found it. The ticket is held to the same rules as one in a body;
// other members of its object are ignored. With an error e is the zero value.
// Errors: ErrInvalidHeader and ErrInvalidJSON in one, wrapped with what and where
// in the decoded text; *TicketError.
func (e *Envelope) OpenHeader(token []byte, opt Options) error {
	*e = Envelope{}
	text, err := decodeHeader(token)
	if err != nil {
		return err
	}
	s := scanners.Get().(*scanner)
	defer s.release()
	if err := s.scanBy(text, s.headMember); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidHeader, err)
	}
	d := decoder{body: text, opt: opt}
	ticket := d.ticket(&s.flat)
	switch {
	case d.err != nil:
		return fmt.Errorf("%w: %w", ErrInvalidHeader, d.err)
	case len(d.faults) > 0:
		return &TicketError{d.faults}
	}
	e.Ticket, e.Form = ticket, InHead
	return nil
}

// decodeHeader decodes base64url (RFC 4648 section 5), whose padding may be left
// out, and nothing else: Go's decoder passes over line ends.
func decodeHeader(token []byte) ([]byte, error) {
	if len(token) > MaxHeader {
		return nil, fmt.Errorf("%w: %w: longer than %d bytes", ErrInvalidHeader, ErrInvalidJSON, MaxHeader)
	}
	encoding := unpadded
	if bytes.IndexByte(token, '=') >= 0 {
		encoding = padded
	}
	text, err := encoding.AppendDecode(nil, token)
	if err != nil || bytes.ContainsAny(token, "\r\n") {
		return nil, fmt.Errorf("%w: %w: not base64url", ErrInvalidHeader, ErrInvalidJSON)
	}
	return text, nil
}

var unpadded, padded = base64.RawURLEncoding.Strict(), base64.URLEncoding.Strict()

// TakeBody makes body the payload of an envelope whose ticket stands InHead, and
// reads what work it asks for. Error: ErrInvalidJSON, where it is not one
// acceptable JSON object; it is the payload all the same.
func (e *Envelope) TakeBody(body []byte) error {
	e.Payload = body
	s := scanners.Get().(*scanner)
	defer s.release()
	if err := s.scanBy(body, s.bodyMember); err != nil {
		return err
	}
	e.limits = s.top
	return nil
}
