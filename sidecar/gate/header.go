package gate

import (
	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/envelope"
)

// OpenHeader opens the envelope of a request whose ticket stands in the head.
// Errors: envelope.ErrInvalidHeader, *envelope.TicketError.
func (p *Pass) OpenHeader(env *envelope.Envelope, token []byte) error {
	if err := env.OpenHeader(token, p.gate.Options()); err != nil {
		return err
	}
	p.note(&env.Ticket)
	return nil
}

// WantsBody reports whether the body of a request with its ticket in the head
// should be read for the work it asks for, and whether the request needs that: it
// must not pass if the body cannot be read.
func (g *Gate) WantsBody(api *dialect.API) (wants, needs bool) {
	known := len(api.Limits) > 0
	return known && g.c.Policy != Off, known && g.c.Policy == Enforce
}

// TakeBody reads the work that a body asks for, as Open does, when the ticket is in
// the head. A body that is not an acceptable JSON object is an error under Enforce
// and passes otherwise. Errors: those of Open.
func (p *Pass) TakeBody(env *envelope.Envelope, body []byte, api *dialect.API) error {
	err := env.TakeBody(body)
	if err == nil {
		err = p.readWork(env, api)
	}
	if p.gate.c.Policy == Enforce {
		return err
	}
	return nil
}
