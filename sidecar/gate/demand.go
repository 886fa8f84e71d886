package gate

import (
	"errors"

	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/envelope"
	"github.com/usher-sidecar/usher/sidecar/account"
)

// A demand is what a request asks for: the work, which its ticket's cost must cover, and
// the session it names. The ticket itself is noted in the account.
type demand struct {
	gate    *Gate
	account *account.Request
	work    envelope.Work
	named   []byte // the id of the session that the request names; nil: none
}

// Open opens the envelope of a request to a route that speaks api, and reads the work
// it asks for if that is needed. Under Enforce, numbers that cannot be understood are
// an error. Otherwise the model server judges them, and what can be read is counted. A
// duplicate member that states work is an error unless the policy is Off, because the
// model server might read the other one. Errors: envelope.ErrInvalidJSON,
// ErrDuplicateMember, or a *envelope.TicketError.
func (d *demand) Open(env *envelope.Envelope, body []byte, api *dialect.API) error {
	if err := env.Open(body, d.gate.Options()); err != nil {
		return err
	}
	d.note(&env.Ticket)
	if d.gate.c.Sessions != nil {
		d.named = env.Session
	}
	return d.readWork(env, api)
}

// OpenHeader opens the envelope of a request whose ticket is in the head.
// Errors: envelope.ErrInvalidHeader, *envelope.TicketError.
func (d *demand) OpenHeader(env *envelope.Envelope, token []byte) error {
	if err := env.OpenHeader(token, d.gate.Options()); err != nil {
		return err
	}
	d.note(&env.Ticket)
	return nil
}

// TakeBody reads the work that a body asks for, as Open does, when the ticket is in
// the head. A body that is not an acceptable JSON object is an error under Enforce
// and passes otherwise. Errors: those of Open.
func (d *demand) TakeBody(env *envelope.Envelope, body []byte, api *dialect.API) error {
	err := env.TakeBody(body)
	if err == nil {
		err = d.readWork(env, api)
	}
	if d.gate.c.Policy == Enforce {
		return err
	}
	return nil
}

// OpenCreation opens the body of a request for a session. Judge then checks its
// ticket. Errors: envelope.ErrInvalidJSON, or a *envelope.TicketError.
func (d *demand) OpenCreation(c *envelope.Creation, body []byte) error {
	err := c.Open(body, d.gate.Options())
	if err == nil {
		d.note(&c.Ticket)
	}
	return err
}

// note records the ticket in the account.
func (d *demand) note(ticket *envelope.Ticket) {
	t := &d.account.Ticket
	t.Endpoint, t.Reqnum, t.Cost, t.Index = ticket.Endpoint, ticket.Reqnum, ticket.Cost.Float64(), ticket.RequestIdx
}

// readWork reads the work that the request asks for, if it is needed.
func (d *demand) readWork(env *envelope.Envelope, api *dialect.API) (err error) {
	policy := d.gate.c.Policy
	if policy == Off {
		if d.gate.asksWork {
			d.work, _ = env.Work(api, d.gate.c.Engine) // as far as it can be read
		}
		return nil
	}
	d.work, err = env.Work(api, d.gate.c.Engine)
	switch {
	case err == nil:
		return nil
	case policy == Enforce && errors.Is(err, envelope.ErrDuplicateMember):
		return &envelope.TicketError{Faults: []string{err.Error()}}
	case policy == Enforce || errors.Is(err, envelope.ErrDuplicateMember):
		return err
	}
	return nil
}

// Price compares the work asked for with the signed cost and returns the payload to
// forward. Errors: ErrCostExceeded, ErrWorkNotStated.
func (d *demand) Price(env *envelope.Envelope, api *dialect.API) (payload []byte, err error) {
	policy := d.gate.c.Policy
	if policy == Off {
		return env.Payload, nil
	}
	d.account.Exceeded = d.work.Exceeds(env.Ticket.Cost)
	switch {
	case policy != Enforce:
		return env.Payload, nil
	case d.account.Exceeded:
		return nil, ErrCostExceeded
	case d.work.Stated:
		return env.Payload, nil
	}
	payload, ok := env.WithLimit(api, d.gate.c.Engine, env.Ticket.Cost)
	if !ok {
		d.account.Exceeded = true
		return nil, ErrWorkNotStated
	}
	return payload, nil
}

// PriceClosing compares the work of a session's closing call with the ticket's cost, as
// Price does, and returns the body of that call. Errors: those of Price and of
// Open.
func (d *demand) PriceClosing(c *envelope.Creation, api *dialect.API) ([]byte, error) {
	payload := c.OnClosePayload
	if payload == nil {
		payload = []byte("{}")
	}
	if d.gate.c.Policy == Off {
		return payload, nil
	}
	var env envelope.Envelope
	if err := env.Wrap(c.Ticket, payload); err != nil {
		return nil, err
	}
	if err := d.readWork(&env, api); err != nil {
		return nil, err
	}
	return d.Price(&env, api)
}
