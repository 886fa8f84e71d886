package sidecar

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/usher-sidecar/usher/envelope"
	"github.com/usher-sidecar/usher/reorder"
	"github.com/usher-sidecar/usher/sidecar/front"
)

// Errors of tickets in the head.
var (
	errNoHeadTicket   = fmt.Errorf("%w: no Authorization: SignedRoute", envelope.ErrInvalidTicket)
	errTwoHeadTickets = fmt.Errorf("%w: %w: there are two", envelope.ErrInvalidHeader, envelope.ErrInvalidJSON)
)

// A headTicket is the ticket in a request's head.
type headTicket struct {
	token []byte // as it came
	found bool
	twice bool // there are more than one
}

// findHeadTicket looks for one. Any other Authorization is a customer's key and
// ignored.
func findHeadTicket(head *front.Head) (t headTicket) {
	if only := head.Only(front.Authorization); only != nil {
		t.token, t.found = envelope.HeaderTicket(only)
		return t
	}
	if head.Value(front.Authorization) == nil {
		return t
	}
	for _, value := range head.Values("authorization") {
		if token, ok := envelope.HeaderTicket(value); ok {
			t.twice = t.twice || t.found // which of them would be meant?
			t.token, t.found = token, true
		}
	}
	return t
}

// An upload is the body of a request. Beside a ticket in the head it may be left in
// the connection, and passed on as it comes.
type upload struct {
	front.Body
	whole  bool          // it was read beside a ticket in the head
	stream *front.Stream // of one that was left; nil: Body is it
}

// explainFault blames the ticket for a head that is too large because the ticket
// is.
func (x *exchange) explainFault(fault error) error {
	var f *front.Fault
	if !x.ticket.found || len(x.ticket.token) <= envelope.MaxHeader || x.route == nil || x.route.Open || !errors.As(fault, &f) || f.Status != http.StatusRequestHeaderFieldsTooLarge {
		return fault
	}
	return x.pass.OpenHeader(new(envelope.Envelope), x.ticket.token)
}

// needsBody reports whether the body has to be read before the request can pass.
func (x *exchange) needsBody() bool {
	switch {
	case x.route.Open:
		return false
	case x.ticket.found:
		_, needs := x.pass.WantsBody(x.api)
		return needs
	}
	return x.conn.Head.Is("POST")
}

// openHeader opens the envelope of a ticket in the head.
func (x *exchange) openHeader(env *envelope.Envelope) error {
	if x.ticket.twice {
		return errTwoHeadTickets
	}
	return x.pass.OpenHeader(env, x.ticket.token)
}

// takeBody reads the body of a request whose ticket is in the head and was judged
// good, if the work it asks for matters and can be read. Any other body is left in
// the connection.
func (x *exchange) takeBody(env *envelope.Envelope) error {
	wants, _ := x.pass.WantsBody(x.api)
	if !wants || x.conn.Head.Encoded {
		return nil
	}
	if err := x.readBody(); err != nil {
		return err
	}
	x.body.whole = true
	return x.pass.TakeBody(env, x.body.Bytes(), x.api)
}

// leftBody reports whether the body was left in the connection.
func (x *exchange) leftBody() bool {
	return x.ticket.found && !x.body.whole && x.conn.Head.Length() != 0
}

// unspooled is how large a body may be that is left in the kernel while its request
// waits, in bytes: what every connection has room for there, so that its client's
// leaving is seen behind it.
const unspooled = 32 << 10

// spooler is what reads the body while the request waits; nil: nothing, since it is
// here, or small.
func (x *exchange) spooler() reorder.Spooler {
	if !x.leftBody() {
		return nil
	}
	if length := x.conn.Head.Length(); 0 <= length && length <= unspooled {
		return nil
	}
	x.body.stream = x.conn.Stream(x.h.cfg.MaxBodyBytes, x.h.bodies)
	return (*spooler)(x)
}

// A spooler is an exchange while it waits.
type spooler exchange

// Spool implements reorder.Spooler. What is wrong with the body ends the waiting.
func (x *spooler) Spool(more func(int64) bool) { x.body.stream.Spool(more, x.call.cancel) }

// Halt implements reorder.Spooler.
func (x *spooler) Halt() { x.body.stream.Halt() }

// beginStream begins to take a body that was left where it is.
func (x *exchange) beginStream() error {
	if !x.leftBody() {
		return nil
	}
	if x.body.stream == nil {
		x.body.stream = x.conn.Stream(x.h.cfg.MaxBodyBytes, x.h.bodies)
	}
	return x.body.stream.Begin()
}
