package gate

import (
	"context"
	"encoding/binary"

	"github.com/usher-sidecar/usher/crypto"
	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/reorder"
	"github.com/usher-sidecar/usher/replay"
	"github.com/usher-sidecar/usher/sidecar/account"
)

// A Pass takes one request through the gate and owns what it takes there: the
// number, then the slot. Call Begin, then the steps in order (Open, Judge, Price,
// Wait), and Release however the request ends. It is for one goroutine at a time.
type Pass struct {
	demand
	proof       crypto.Proof
	reservation replay.Reservation
	slot        reorder.Slot
	session     *Session // that the request is in; nil: none
	ordered     bool     // the buffer knows that the number has come

	// Occupant is told when the request's session ends.
	Occupant Occupant
}

// Begin makes p the pass through g of the request with account a.
func (p *Pass) Begin(g *Gate, a *account.Request) { *p = Pass{demand: demand{gate: g, account: a}} }

// Wait waits for the request's turn. Without a signed number that is the order of
// arrival. size is that of the payload, as far as it was read; spooler reads the
// rest meanwhile, or is nil. After it a slot is held until Release. Errors:
// reorder.ErrFull, reorder.ErrTimeout, or ctx's.
func (p *Pass) Wait(ctx context.Context, size int, spooler reorder.Spooler) error {
	g, a := p.gate, p.account
	p.ordered = true
	slot, err := g.c.Buffer.Admit(ctx, reorder.Request{
		Series: seriesOf(p.proof.Key), Number: a.Ticket.Reqnum, Unordered: !a.Ticket.Reserved,
		Bytes: int64(size), Spooler: spooler,
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

// seriesOf returns the numbering of a key: each has its own.
func seriesOf(key crypto.Fingerprint) reorder.Series {
	return reorder.Series(binary.BigEndian.Uint64(key[:]))
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
		passOver(p)
		p.reservation.Release()
	}
}

// passOver has nobody held for the request's number, which has come but needs no slot: it
// was refused, or opens a session.
func passOver(p *Pass) {
	if b := p.gate.c.Buffer; b != nil && !p.ordered {
		p.ordered = true
		b.Skip(seriesOf(p.proof.Key), p.account.Ticket.Reqnum)
	}
}
