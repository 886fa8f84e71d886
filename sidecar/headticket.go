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

// A headTicket is the ticket in a request's head.
type headTicket struct {
	token []byte // as it was sent
	found bool
	twice bool // there is more than one
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
			t.twice = t.twice || t.found // which of them is meant is unclear
			t.token, t.found = token, true
		}
	}
	return t
}
