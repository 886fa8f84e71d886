package sidecar

import (
	"errors"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/config"
	"github.com/usher-sidecar/usher/crypto"
	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/envelope"
	"github.com/usher-sidecar/usher/reorder"
	"github.com/usher-sidecar/usher/replay"
	"github.com/usher-sidecar/usher/sidecar/account"
	"github.com/usher-sidecar/usher/sidecar/trace"
	"github.com/usher-sidecar/usher/sidecar/upstream"
)

// An exchange is one request and its answer. What it holds is taken in one
// direction (number, turn, line) and given back in the other by settle, exactly
// once, whichever way the request ends.
type exchange struct {
	call
	account account.Request

	sidecar *Sidecar
	conn    *conn
	target  []byte       // the request target; valid while the handler runs
	api     *dialect.API // that the path speaks

	body        body
	reservation replay.Reservation
	slot        reorder.Slot
	waited      bool // for its turn, or has been admitted
	line        *upstream.Conn
	settled     bool
	span        *trace.Request // nil: not traced
}

// serve is the handler of the public listener.
func (s *Sidecar) serve(ctx *fasthttp.RequestCtx) {
	head := &ctx.Request.Header
	ctx.Conn().(*conn).forget()
	// Set for every answer: it bounds a client that does not read, and makes
	// fasthttp flush each answer although the next request is here. Else one
	// would still wait in its buffer when the next, relayed past that, goes out.
	_ = ctx.SetWriteDeadline(time.Now().Add(s.cfg.WriteTimeout))
	if s.answerAside(ctx) {
		if s.drain.begun() {
			ctx.SetConnectionClose()
			ctx.Conn().(*conn).watched.Linger()
		}
		return
	}
	x := s.begin(ctx)
	defer x.recoverPanic(ctx)

	err := s.verdict(head)
	if err == nil {
		err = x.run(ctx)
	}
	if err != nil {
		x.refuse(ctx, err)
	}
}

// run takes one request through the checks in the contract's order and, when
// all are passed, hands the answer to the relay. Steps up to the price never
// wait; the ones after it own all the waiting.
func (x *exchange) run(ctx *fasthttp.RequestCtx) error {
	s := x.sidecar
	// A connection that brings forgeries waits.
	if err := x.coolOff(); err != nil {
		return err
	}
	// 5: the size, while the body comes in.
	if err := x.body.read(x.conn.body(), x.conn.guard.declared(), s.cfg.MaxBodyBytes, s.room); err != nil {
		return bodyFault(err)
	}
	x.account.BytesIn = int64(len(x.body.bytes()))
	// 6, 7: open the envelope. In place: with copies of it in this frame, which lies
	// under all the others, the verification would need a stack of 16 KiB, not 8.
	var env envelope.Envelope
	if err := env.Open(x.body.bytes(), s.envelopeOptions); err != nil {
		return err
	}
	x.account.Ticket.Endpoint, x.account.Ticket.Reqnum, x.account.Ticket.Cost = env.Ticket.Endpoint, env.Ticket.Reqnum, env.Ticket.Cost.Float64()
	work, err := x.work(&env)
	if err != nil {
		return err
	}
	// 8, 9: is it for us.
	if err := s.audience.Check(&env.Ticket); err != nil {
		return err
	}
	// 10 to 13: is it fresh and genuine; the number is ours from here on.
	ordered, err := x.authenticate(&env.Ticket)
	if err != nil {
		return err
	}
	// 14: the price.
	payload, err := x.price(&env, work)
	if err != nil {
		return err
	}
	// 15, 16: its turn.
	if err := x.admit(reorder.Request{Number: x.account.Ticket.Reqnum, Unordered: !ordered, Bytes: int64(len(payload))}); err != nil {
		return err
	}
	// 17, 18: a line to the model server; the ticket is spent when its request
	// begins to be sent, and not before.
	resp, err := x.forward(ctx, payload)
	if err != nil {
		return err
	}
	x.answer(ctx, resp)
	return nil
}

// work reads what the request asks for, where a policy wants to know. Under
// enforce, numbers that cannot be understood or are no limit are the ticket's
// fault (422); otherwise they are the model server's to judge, and what could be
// read of them is counted, except a member that stands twice, which it might read
// in another way than we did.
func (x *exchange) work(env *envelope.Envelope) (envelope.Work, error) {
	policy := x.sidecar.cfg.CostPolicy
	if policy == config.CostOff {
		return envelope.Work{}, nil
	}
	work, err := env.Work(x.api, dialect.AnyEngine)
	switch {
	case err == nil:
		return work, nil
	case policy == config.CostEnforce && errors.Is(err, envelope.ErrDuplicateMember):
		return work, &envelope.TicketError{Faults: []string{err.Error()}}
	case policy == config.CostEnforce || errors.Is(err, envelope.ErrDuplicateMember):
		return work, err
	}
	return work, nil
}

// authenticate looks the number up, verifies the signature and reserves the
// number. Only a number that was signed is looked up or moves the window; it
// reports whether it was.
func (x *exchange) authenticate(t *envelope.Ticket) (ordered bool, err error) {
	s := x.sidecar
	now := time.Now()
	if s.reqnumAlwaysSigned {
		if err := s.ledger.Check(t.Reqnum, s.keys.Accepted(now)...); err != nil {
			s.stale.note(s.log, err)
			return false, err
		}
	}
	proof, err := s.keys.Verify(&t.Message, t.Signature, now)
	x.account.Times.VerifyAt, x.account.Times.Verify = now, time.Since(now)
	s.book.Verified(x.account.Times.Verify)
	x.conn.forger.note(err, now)
	if err != nil {
		return false, err
	}
	if !proof.Signs(crypto.FieldReqnum) {
		return false, nil
	}
	x.reservation, err = s.ledger.Reserve(proof.Key, t.Reqnum)
	s.stale.note(s.log, err)
	if err != nil {
		return false, err
	}
	x.account.Ticket.Reserved = true
	if x.reservation.Fresh() {
		s.buffer.Restart()
		s.recorder.Strip.Restart(t.Reqnum)
	}
	s.recorder.Strip.Came(t.Reqnum)
	if x.reservation.Reset() {
		s.log.Warn("the numbers start again: a new replay window", zap.Int64("reqnum", t.Reqnum))
	}
	return true, nil
}

// price compares the work asked for with the signed cost and returns what is
// to be forwarded.
func (x *exchange) price(env *envelope.Envelope, work envelope.Work) ([]byte, error) {
	policy := x.sidecar.cfg.CostPolicy
	if policy == config.CostOff {
		return env.Payload, nil
	}
	x.account.Exceeded = work.Exceeds(env.Ticket.Cost)
	if policy != config.CostEnforce {
		return env.Payload, nil
	}
	if x.account.Exceeded {
		return nil, errCostExceeded
	}
	if work.Stated {
		return env.Payload, nil
	}
	payload, ok := env.WithLimit(x.api, dialect.AnyEngine, env.Ticket.Cost)
	if !ok {
		x.account.Exceeded = true
		return nil, errWorkNotStated
	}
	return payload, nil
}

// admit waits for the request's turn.
func (x *exchange) admit(r reorder.Request) error {
	x.waited = true
	x.body.leaveRoom() // from here on the buffer counts it
	slot, err := x.sidecar.buffer.Admit(&x.call, r)
	x.account.Times.Hold, x.account.Times.Queue = slot.Held(), slot.Queued()
	if err == nil || x.account.Times.Hold+x.account.Times.Queue > 0 {
		x.sidecar.book.Waited(x.account.Times.Hold, x.account.Times.Queue)
	}
	if err != nil {
		return err
	}
	x.slot, x.account.Ticket.Admitted = slot, true
	if x.account.Ticket.Reserved {
		x.sidecar.recorder.Strip.Ran(x.account.Ticket.Reqnum)
	}
	return nil
}

// forward sends the request, at most once.
func (x *exchange) forward(ctx *fasthttp.RequestCtx, payload []byte) (*upstream.Response, error) {
	start := time.Now()
	defer func() { x.account.Times.Upstream = time.Since(start) }()
	line, err := x.sidecar.upstream.Acquire(&x.call)
	if err != nil {
		return nil, err
	}
	x.line = line
	if err := x.sidecar.calls.bind(&x.call, line); err != nil {
		return nil, err
	}
	if x.account.Ticket.Reserved {
		x.reservation.Commit()
	}
	x.account.Times.Sent = start
	path, query := splitTarget(x.target)
	resp, err := line.RoundTrip(&upstream.Request{
		Header: &ctx.Request.Header, Path: path, Query: query,
		RequestID: x.account.ID, Body: payload, Sender: x, Traceparent: x.sendTrace(),
	})
	if x.account.Ticket.Reserved && errors.Is(err, upstream.ErrUnreachable) {
		// The kept connection was dead and could not be replaced: nothing was
		// sent, and the client is told that its ticket stays good.
		x.reservation.Undo()
	}
	x.body.release()
	if cause := x.why(); cause != nil && err != nil {
		return nil, cause
	}
	return resp, err
}

// RequestSent lets the next one go of those whose turn came together.
func (x *exchange) RequestSent() { x.slot.Sent() }
