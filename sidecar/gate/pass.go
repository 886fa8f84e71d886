package gate

import (
	"context"
	"errors"

	"github.com/usher-sidecar/usher/crypto"
	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/envelope"
	"github.com/usher-sidecar/usher/reorder"
	"github.com/usher-sidecar/usher/replay"
	"github.com/usher-sidecar/usher/sidecar/account"
)

// A Pass takes one request through the gate and owns what it takes there: the
// number, then the slot. Call Begin, then the steps in order (Open, Judge, Price,
// Wait), and Release however the request ends. It is for one goroutine at a time.
type Pass struct {
	gate        *Gate
	account     *account.Request
	work        envelope.Work
	proof       crypto.Proof
	reservation replay.Reservation
	slot        reorder.Slot
	named       []byte   // the session that the request says to belong to; nil: none
	session     *Session // that it is in; nil: none

	// Occupant is told when the request's session ends.
	Occupant Occupant
}

// Begin makes p the pass through g of the request with account a.
func (p *Pass) Begin(g *Gate, a *account.Request) { *p = Pass{gate: g, account: a} }

// Open opens the envelope of a request to a route that speaks api, and reads the
// work it asks for if a policy needs that. Under Enforce, numbers that cannot be
// understood are an error. Otherwise the model server judges them, and what could
// be read is counted. A duplicate member is always an error, because the model
// server might read it differently. Errors: envelope.ErrInvalidJSON,
// ErrDuplicateMember, or a *envelope.TicketError.
func (p *Pass) Open(env *envelope.Envelope, body []byte, api *dialect.API) error {
	if err := env.Open(body, p.gate.Options()); err != nil {
		return err
	}
	p.note(&env.Ticket)
	if p.gate.c.Sessions != nil {
		p.named = env.Session
	}
	return p.readWork(env, api)
}

// note records what the ticket says.
func (p *Pass) note(ticket *envelope.Ticket) {
	t := &p.account.Ticket
	t.Endpoint, t.Reqnum, t.Cost, t.Index = ticket.Endpoint, ticket.Reqnum, ticket.Cost.Float64(), ticket.RequestIdx
}

// readWork reads the work that the request asks for, if it is needed.
func (p *Pass) readWork(env *envelope.Envelope, api *dialect.API) (err error) {
	policy := p.gate.c.Policy
	if policy == Off {
		if p.gate.asksWork {
			p.work, _ = env.Work(api, p.gate.c.Engine) // what can be read of it
		}
		return nil
	}
	p.work, err = env.Work(api, p.gate.c.Engine)
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
func (p *Pass) Price(env *envelope.Envelope, api *dialect.API) (payload []byte, err error) {
	policy := p.gate.c.Policy
	if policy == Off {
		return env.Payload, nil
	}
	p.account.Exceeded = p.work.Exceeds(env.Ticket.Cost)
	switch {
	case policy != Enforce:
		return env.Payload, nil
	case p.account.Exceeded:
		return nil, ErrCostExceeded
	case p.work.Stated:
		return env.Payload, nil
	}
	payload, ok := env.WithLimit(api, p.gate.c.Engine, env.Ticket.Cost)
	if !ok {
		p.account.Exceeded = true
		return nil, ErrWorkNotStated
	}
	return payload, nil
}

// Wait waits for the request's turn. Without a signed number that is the order of
// arrival. size is that of the payload, as far as it was read; spooler reads the
// rest meanwhile, or is nil. After it a slot is held until Release. Errors:
// reorder.ErrFull, reorder.ErrTimeout, or ctx's.
func (p *Pass) Wait(ctx context.Context, size int, spooler reorder.Spooler) error {
	g, a := p.gate, p.account
	slot, err := g.c.Buffer.Admit(ctx, reorder.Request{
		Number: a.Ticket.Reqnum, Unordered: !a.Ticket.Reserved, Bytes: int64(size), Spooler: spooler,
	})
	a.Times.Hold, a.Times.Queue = slot.Held(), slot.Queued()
	if g.c.Meter != nil && (err == nil || a.Times.Hold+a.Times.Queue > 0) {
		g.c.Meter.Waited(a.Times.Hold, a.Times.Queue)
	}
	if err != nil {
		return err
	}
	p.slot, a.Ticket.Admitted = slot, true
	if g.c.Engine != dialect.AnyEngine {
		g.fanout.add(p.work.Runs(), 1)
	}
	if a.Ticket.Reserved && g.c.Numbers != nil {
		g.c.Numbers.Ran(a.Ticket.Reqnum)
	}
	return nil
}

// Commit spends the ticket: its request begins to be sent.
func (p *Pass) Commit() {
	if p.account.Ticket.Reserved {
		p.reservation.Commit()
	}
}

// Undo undoes Commit: nothing was sent, and the ticket stays good.
func (p *Pass) Undo() {
	if p.account.Ticket.Reserved {
		p.reservation.Undo()
	}
}

// Sent lets the next of the requests admitted together go.
func (p *Pass) Sent() { p.slot.Sent() }

// Release gives everything back in reverse order. A number that was not committed
// can be used again. A Pass that was not begun holds nothing.
func (p *Pass) Release() {
	if p.account == nil {
		return
	}
	if p.account.Ticket.Admitted {
		if p.gate.c.Engine != dialect.AnyEngine {
			p.gate.fanout.add(p.work.Runs(), -1)
		}
		p.slot.Release()
	}
	if p.session != nil {
		p.session.Leave(p.Occupant)
		p.session = nil
	}
	if p.account.Ticket.Reserved {
		p.reservation.Release()
	}
}
