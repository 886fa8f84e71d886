package gate

import (
	"time"

	"github.com/usher-sidecar/usher/crypto"
	"github.com/usher-sidecar/usher/envelope"
)

// A Step is one check that a ticket must pass.
type Step uint8

// The steps, in the order in which they must be made: cheap checks come first, so that
// a flood of replays costs no public-key operation, and only a verified ticket changes
// the window.
const (
	Audience  Step = iota // is it for this worker
	Fresh                 // has its number been seen, a look-up only
	Signature             // is it genuine
	Reserve               // its number is reserved for it

	// Steps is the number of steps.
	Steps
)

// Check makes one check. All steps before it must have passed.
func (s Step) Check(p *Pass, t *envelope.Ticket) error {
	switch s {
	case Audience:
		return p.gate.c.Audience.Check(t)
	case Fresh:
		return p.gate.fresh(p, t)
	case Signature:
		return p.verify(t)
	default:
		return p.reserve(t)
	}
}

// Judge checks a ticket up to the first check that fails. If all pass, its number,
// if it was signed, is reserved until Release. Errors:
// envelope.ErrEndpointMismatch, ErrURLMismatch, replay.ErrReplayed, ErrStale,
// ErrUnknownKey, crypto.ErrNoKey, ErrBadSignature. The ticket of a request in a
// session was checked when the session was opened. It only has to be that session's
// ticket; otherwise the error is ErrSessionUnknown.
func (p *Pass) Judge(t *envelope.Ticket) (err error) {
	if p.named != nil {
		p.session, err = p.gate.c.Sessions.Enter(p.named, t, p.Occupant, time.Now())
		return err
	}
	for s := range Steps {
		if err := s.Check(p, t); err != nil {
			return err
		}
	}
	return nil
}

// Accept reports a ticket that was judged good. Its workload is the cost if that was
// signed. An unsigned cost may be invented, so then it is the work that the request
// states, if that is known by now.
func (p *Pass) Accept() {
	if p.named != nil {
		return // its session was reported
	}
	t := &p.account.Ticket
	t.Verified, t.Workload = true, t.Cost
	if amount := p.work.Amount(); amount > 0 && !p.proof.Signs(crypto.FieldCost) {
		t.Workload = amount
	}
	if told := p.gate.c.Accepted; told != nil {
		told(p.account)
	}
}

// fresh looks the number up without reserving it. A number that may be unsigned is not
// looked up, because it proves nothing.
func (g *Gate) fresh(p *Pass, t *envelope.Ticket) error {
	if !g.numbersSigned {
		return nil
	}
	err := g.c.Ledger.Check(t.Reqnum, g.c.Keys.Accepted(time.Now())...)
	if err != nil && g.stale.note(err, t.Reqnum) {
		// So many could be forged, to have an operator forget which tickets are spent.
		if p.verify(t) == nil {
			g.alarm()
		}
	}
	return err
}

// verify checks the signature against all candidate messages, at the cost of one
// public-key operation per key.
func (p *Pass) verify(t *envelope.Ticket) (err error) {
	now := time.Now()
	p.proof, err = p.gate.c.Keys.Verify(&t.Message, t.Signature, now)
	times := &p.account.Times
	times.VerifyAt, times.Verify = now, time.Since(now)
	if m := p.gate.c.Meter; m != nil {
		m.Verified(times.Verify)
	}
	return err
}

// reserve reserves the number atomically: of two copies that race, exactly one passes.
// Only a signed number moves the window.
func (p *Pass) reserve(t *envelope.Ticket) (err error) {
	g := p.gate
	if !p.proof.Signs(crypto.FieldReqnum) {
		return nil
	}
	p.reservation, err = g.c.Ledger.Reserve(p.proof.Key, t.Reqnum)
	if g.stale.note(err, t.Reqnum) {
		g.alarm()
	}
	if err != nil {
		return err
	}
	p.account.Ticket.Reserved = true
	if p.reservation.Fresh() {
		if g.c.Buffer != nil {
			g.c.Buffer.Restart(seriesOf(p.proof.Key))
		}
		if g.c.Numbers != nil {
			g.c.Numbers.Restart(t.Reqnum)
		}
	}
	if g.c.Numbers != nil {
		g.c.Numbers.Came(t.Reqnum)
	}
	if p.reservation.Reset() && g.c.Reset != nil {
		g.c.Reset(t.Reqnum)
	}
	return nil
}

// alarm says that all numbers are stale.
func (g *Gate) alarm() {
	if g.stale.tell() && g.c.Stale != nil {
		g.c.Stale()
	}
}
