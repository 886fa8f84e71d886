package gate

import (
	"time"

	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/envelope"
)

// OpenCreation opens the body of a request for a session. Judge then checks its
// ticket. Errors: envelope.ErrInvalidJSON, or a *envelope.TicketError.
func (p *Pass) OpenCreation(c *envelope.Creation, body []byte) error {
	err := c.Open(body, p.gate.Options())
	if err == nil {
		p.note(&c.Ticket)
	}
	return err
}

// PriceClosing compares the work of the closing call with the session's cost, as
// Price does, and returns the body of that call. Errors: those of Price and of
// Open.
func (p *Pass) PriceClosing(c *envelope.Creation, api *dialect.API) ([]byte, error) {
	payload := c.OnClosePayload
	if payload == nil {
		payload = []byte("{}")
	}
	if p.gate.c.Policy == Off {
		return payload, nil
	}
	var env envelope.Envelope
	if err := env.Wrap(c.Ticket, payload); err != nil {
		return nil, err
	}
	if err := p.readWork(&env, api); err != nil {
		return nil, err
	}
	return p.Price(&env, api)
}

// Create opens a session with the ticket that was judged, and spends the ticket. A
// session takes no slot, and its number holds up no other, whether or not there is
// room for it. Errors: ErrSessionsFull, ErrSessionsClosed.
func (p *Pass) Create(s *Session, ticket *envelope.Ticket) (id string, err error) {
	g := p.gate
	reserved := p.account.Ticket.Reserved
	if reserved && g.c.Buffer != nil {
		g.c.Buffer.Skip(ticket.Reqnum)
	}
	if id, err = g.c.Sessions.Open(s, ticket, time.Now()); err != nil {
		return "", err
	}
	p.Commit()
	if reserved && g.c.Numbers != nil {
		g.c.Numbers.Ran(ticket.Reqnum)
	}
	return id, nil
}

// enter enters the session that the request names.
func (p *Pass) enter(t *envelope.Ticket) (err error) {
	p.session, err = p.gate.c.Sessions.Enter(p.named, t, p.Occupant, time.Now())
	return err
}

// InSession reports whether the request is in a session, so that its ticket,
// although spent, is good for further requests.
func (p *Pass) InSession() bool { return p.session != nil }
