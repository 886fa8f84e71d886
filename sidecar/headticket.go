package sidecar

import (
	"fmt"

	"github.com/usher-sidecar/usher/envelope"
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

// beginStream begins to take a body that was left where it is.
func (x *exchange) beginStream() (err error) {
	if !x.inHead || x.bodyRead || x.conn.Head.Length() == 0 {
		return nil
	}
	x.stream, err = x.conn.Stream(x.h.cfg.MaxBodyBytes)
	return err
}
