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

// findTicket looks for a ticket in the head. Any other Authorization is a
// customer's key, and none of our business.
func (x *exchange) findTicket() {
	if x.manages {
		return // such a request has its ticket in the body, as its session's
	}
	head := &x.conn.Head
	if only := head.Only(front.Authorization); only != nil {
		x.token, x.inHead = envelope.HeaderTicket(only)
		return
	}
	if head.Value(front.Authorization) == nil {
		return
	}
	for _, value := range head.Values("authorization") {
		if token, ok := envelope.HeaderTicket(value); ok {
			x.twoTickets = x.twoTickets || x.inHead // which of them would be meant?
			x.token, x.inHead = token, true
		}
	}
}

// explainFault finds the ticket's fault in that of a head, which is too large where
// the ticket is.
func (x *exchange) explainFault(fault error) error {
	var f *front.Fault
	if !x.inHead || len(x.token) <= envelope.MaxHeader || x.route == nil || x.route.Open || !errors.As(fault, &f) || f.Status != http.StatusRequestHeaderFieldsTooLarge {
		return fault
	}
	return x.pass.OpenHeader(new(envelope.Envelope), x.token)
}

// needsBody reports whether the request cannot pass without its body being read.
func (x *exchange) needsBody() bool {
	switch {
	case x.route.Open:
		return false
	case x.inHead:
		_, needs := x.pass.WantsBody(x.api)
		return needs
	}
	return x.conn.Head.Is("POST")
}

// openHeader opens the envelope of a ticket in the head.
func (x *exchange) openHeader(env *envelope.Envelope) error {
	if x.twoTickets {
		return errTwoHeadTickets
	}
	return x.pass.OpenHeader(env, x.token)
}

// takeBody reads the body beside a ticket in the head that was judged good, where
// the work that it asks for is wanted and can be read. Any other is left where it
// is.
func (x *exchange) takeBody(env *envelope.Envelope) error {
	wants, _ := x.pass.WantsBody(x.api)
	if !wants || x.conn.Head.Encoded {
		return nil
	}
	if err := x.readBody(); err != nil {
		return err
	}
	x.bodyRead = true
	return x.pass.TakeBody(env, x.body.Bytes(), x.api)
}

// leftBody reports whether the body was left where it is.
func (x *exchange) leftBody() bool {
	return x.inHead && !x.bodyRead && x.conn.Head.Length() != 0
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
	x.stream = x.conn.Stream(x.h.cfg.MaxBodyBytes, x.h.bodies)
	return (*spooler)(x)
}

// A spooler is an exchange while it waits.
type spooler exchange

// Spool implements reorder.Spooler. What is wrong with the body ends the waiting.
func (x *spooler) Spool(more func(int64) bool) { x.stream.Spool(more, x.call.cancel) }

// Halt implements reorder.Spooler.
func (x *spooler) Halt() { x.stream.Halt() }

// beginStream begins to take a body that was left where it is.
func (x *exchange) beginStream() error {
	if !x.leftBody() {
		return nil
	}
	if x.stream == nil {
		x.stream = x.conn.Stream(x.h.cfg.MaxBodyBytes, x.h.bodies)
	}
	return x.stream.Begin()
}
