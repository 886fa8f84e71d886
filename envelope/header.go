package envelope

import (
	"bytes"
	"encoding/base64"
	"fmt"
)

// MaxHeader is the longest ticket accepted in the head, in bytes of base64url.
const MaxHeader = 8 << 10

// HeaderTicket finds a ticket in the value of an Authorization field: its JSON
// object in base64url after "SignedRoute ", or after "Bearer sr.", which any client
// that takes an API key can send. ok is false for any other value, such as a
// customer's own key. Schemes are case-insensitive (RFC 9110 section 11.1).
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

// isScheme compares case-insensitively in ASCII. The length check keeps out
// Unicode characters that fold to an ASCII letter: they take more bytes.
func isScheme(scheme []byte, name string) bool {
	return len(scheme) == len(name) && bytes.EqualFold(scheme, []byte(name))
}

// OpenHeader makes e the envelope of a request whose ticket is in the head, as
// HeaderTicket found it. The same rules apply as for a ticket in a body; unknown
// members of its object are ignored. On error e is the zero value. Errors: one
// that wraps both ErrInvalidHeader and ErrInvalidJSON, with the fault and its
// offset in the decoded text; *TicketError.
func (e *Envelope) OpenHeader(token []byte, opt Options) error {
	*e = Envelope{}
	text, err := decodeHeader(token)
	if err != nil {
		return err
	}
	s := scanners.Get().(*scanner)
	defer s.release()
	if err := s.walk(text, &s.names[0], s.headMember); err != nil {
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

// decodeHeader decodes base64url (RFC 4648 section 5) with or without padding. It
// rejects line breaks, which Go's decoder ignores.
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

// TakeBody makes body the payload of an envelope whose ticket is InHead, and reads
// how much work it asks for. Error: ErrInvalidJSON, if it is not a single
// acceptable JSON object; it becomes the payload even then.
func (e *Envelope) TakeBody(body []byte) error {
	e.Payload = body
	s := scanners.Get().(*scanner)
	defer s.release()
	if err := s.walk(body, &s.names[0], s.bodyMember); err != nil {
		return err
	}
	e.limits = s.top
	return nil
}
