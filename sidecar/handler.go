package sidecar

import (
	"cmp"
	"errors"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/envelope"
	"github.com/usher-sidecar/usher/sidecar/account"
	"github.com/usher-sidecar/usher/sidecar/gate"
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

	body    body
	pass    gate.Pass
	waited  bool // for its turn, or has been admitted
	line    *upstream.Conn
	settled bool

	onBehalf bool           // counted under a client that a proxy named
	crowded  error          // that client is at its limit
	span     *trace.Request // nil: not traced
}

// serve is the handler of the public listener.
func (s *Sidecar) serve(ctx *fasthttp.RequestCtx) {
	head := &ctx.Request.Header
	ctx.Conn().(*conn).forget()
	// Makes fasthttp flush each answer although the next request is here. Else one
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

	err := cmp.Or(x.crowded, s.verdict(head))
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
	if err := x.pass.Open(&env, x.body.bytes(), x.api); err != nil {
		return err
	}
	// 8 to 13: is it for us, fresh and genuine; the number is ours from here on.
	err := x.pass.Judge(&env.Ticket)
	x.conn.forger.note(err, x.account.Times.VerifyAt)
	if err != nil {
		return err
	}
	// 14: the price.
	payload, err := x.pass.Price(&env, x.api)
	if err != nil {
		return err
	}
	// 15, 16: its turn.
	x.waited = true
	x.body.leaveRoom() // from here on the buffer counts it
	if err := x.pass.Wait(&x.call, len(payload)); err != nil {
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
	x.pass.Commit()
	x.account.Times.Sent = start
	path, query := splitTarget(x.target)
	resp, err := line.RoundTrip(&upstream.Request{
		Header: &ctx.Request.Header, Path: path, Query: query,
		RequestID: x.account.ID, Body: payload, Sender: x, Traceparent: x.sendTrace(),
	})
	if errors.Is(err, upstream.ErrUnreachable) {
		// The kept connection was dead and could not be replaced: nothing was
		// sent, and the client is told that its ticket stays good.
		x.pass.Undo()
	}
	if resp == nil || !resp.Sending() {
		x.body.release()
	}
	if cause := x.why(); cause != nil && err != nil {
		return nil, cause
	}
	return resp, err
}

// RequestSent lets the next one go of those whose turn came together.
func (x *exchange) RequestSent() { x.pass.Sent() }
