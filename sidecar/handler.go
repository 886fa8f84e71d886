package sidecar

import (
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/config"
	"github.com/usher-sidecar/usher/config/route"
	"github.com/usher-sidecar/usher/crypto"
	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/envelope"
	"github.com/usher-sidecar/usher/sidecar/account"
	"github.com/usher-sidecar/usher/sidecar/front"
	"github.com/usher-sidecar/usher/sidecar/gate"
	"github.com/usher-sidecar/usher/sidecar/trace"
	"github.com/usher-sidecar/usher/sidecar/upstream"
)

// A handler is all that serving a request needs.
type handler struct {
	cfg    *config.Config
	log    *zap.Logger
	routes routes
	model  modelServer

	gate     *gate.Gate
	streams  *streams // that are open
	book     account.Book
	calls    *calls
	bodies   *front.Budget // memory for bodies whose senders are not verified yet
	comeback *comeback
	drain    *drain
	sessions *sessions     // nil: there are none
	reports  *reports      // to the autoscaler; nil: none, and no benchmark
	tracer   *trace.Tracer // nil: no tracing
	panicked func()        // counts a fault of ours
}

// routes are the requests that are served.
type routes struct {
	*route.Table
	names string // for a client whose path is none of them
	open  places // for the open ones
}

// A modelServer is where admitted requests go.
type modelServer struct {
	client   *upstream.Client
	prober   *upstream.Prober
	sawBytes sawBytes
	// strict is for model servers that are known to end each stream with its API's
	// last word: a stream that ends without it is broken. Else it is only logged.
	strict bool
}

// An exchange is one request and its answer. What it holds is taken in one
// direction (number, turn, line) and given back in the other by settle, exactly
// once, whichever way the request ends.
type exchange struct {
	call
	account account.Request

	h     *handler
	conn  *front.Conn
	route *route.Entry // nil: the request is none of ours
	api   *dialect.API // that the path speaks

	manages bool // its path is one that manages sessions

	ticket  headTicket
	body    upload
	pass    gate.Pass
	waited  bool // for its turn, or has been admitted
	placed  bool // has one of the places of open routes
	line    *upstream.Conn
	settled bool
	span    *trace.Request // nil: not traced
	timing  [96]byte       // room for Server-Timing
}

// serve answers the request that was read on c, or the fault that reading it
// ended with.
func (h *handler) serve(c *front.Conn, fault error) {
	x := h.begin(c)
	defer x.recoverPanic()
	err := x.explainFault(fault)
	if err == nil {
		err = x.run()
	}
	if err != nil {
		x.refuse(err)
	}
}

// run takes one request through the checks in their order and, when all are
// passed, hands the answer to the relay. Steps up to the price never wait; the
// ones after it own all the waiting.
func (x *exchange) run() error {
	// 1 to 5: what the head alone tells.
	if err := x.checkHead(); err != nil {
		return err
	}
	if x.route.Open {
		return x.runOpen()
	}
	// A connection that brings forgeries waits.
	if x.conn.Penalty.Wait(&x.call) != nil {
		return x.why()
	}
	// 6 to 14: what manages sessions ends here, and goes to no model server.
	if x.manages {
		return x.manage()
	}
	// 5 to 7: read the body, unless the ticket stands in the head, and open the
	// envelope. In place: with copies of it in this frame, which lies under all the
	// others, the verification would need a stack of 16 KiB, not 8.
	var env envelope.Envelope
	if err := x.open(&env); err != nil {
		return err
	}
	// 8 to 13: is it for us, fresh and genuine; the number is ours from here on.
	err := x.pass.Judge(&env.Ticket)
	x.punish(err)
	if err != nil {
		return err
	}
	// 5, 6: only now the body beside a ticket in the head, where its work is known.
	if x.ticket.found {
		err = x.takeBody(&env)
	}
	x.pass.Accept()
	if err != nil {
		return err
	}
	// 14: the price.
	payload, err := x.pass.Price(&env, x.api)
	if err != nil {
		return err
	}
	if len(payload) > 0 && &payload[0] != &env.Payload[0] {
		x.body.Replace(payload) // it was made anew, with a limit in it
	}
	// 15, 16: its turn.
	x.waited = true
	x.body.LeaveBudget() // from here on the queue counts it
	spooler := x.spooler()
	if err := x.pass.Wait(&x.call, max(len(payload), len(x.body.Bytes())), spooler); err != nil {
		return err
	}
	// 17, 18: a line to the model server; the ticket is spent when its request
	// begins to be sent, and not before.
	resp, err := x.forward(payload)
	if err != nil {
		return err
	}
	relayAnswer(x, resp)
	return nil
}

// open opens the envelope. Where the ticket does not stand in the head it is in
// the body, which is then read whole.
func (x *exchange) open(env *envelope.Envelope) error {
	switch {
	case x.ticket.found:
		return x.openHeader(env)
	case !x.conn.Head.Is("POST"):
		return errNoHeadTicket
	}
	if err := x.readBody(); err != nil {
		return err
	}
	return x.pass.Open(env, x.body.Bytes(), x.api)
}

// readBody reads the body whole.
func (x *exchange) readBody() error {
	err := x.body.Read(x.conn, x.bodyLimit(), x.h.bodies)
	x.account.BytesIn = int64(len(x.body.Bytes()))
	return err
}

// punish has a connection that brings forgeries wait, from the second one on.
func (x *exchange) punish(err error) {
	switch {
	case err == nil:
		x.conn.Penalty.Good()
	case errors.Is(err, crypto.ErrBadSignature):
		x.conn.Penalty.Forged(time.Now())
	}
}

// forward sends the request, at most once.
func (x *exchange) forward(payload []byte) (*upstream.Response, error) {
	start := time.Now()
	defer func() { x.account.Times.Upstream = time.Since(start) }()
	line, err := x.h.model.client.Acquire(&x.call)
	if err != nil {
		return nil, err
	}
	x.line = line
	if err := x.h.calls.bind(&x.call, line); err != nil {
		return nil, err
	}
	if err := x.beginStream(); err != nil {
		return nil, err
	}
	x.pass.Commit()
	x.account.Times.Sent = start
	head := &x.conn.Head
	req := upstream.Request{
		Header: head.Block, Method: head.Method, Path: head.Path, Query: head.Query,
		RequestID: x.account.ID, Body: payload, Sender: x, Traceparent: x.sendTrace(),
	}
	if x.body.stream != nil {
		req.Source, req.Length = x.body.stream, head.Length()
	}
	resp, err := line.RoundTrip(&req)
	if errors.Is(err, upstream.ErrUnreachable) || errors.Is(err, upstream.ErrRequest) {
		// The kept connection was dead and could not be replaced, or the request
		// cannot be written: nothing was sent, and the ticket stays good.
		x.pass.Undo()
		x.account.Times.Sent = time.Time{}
	}
	if resp == nil || !resp.Sending() {
		x.body.Release()
	}
	if cause := x.why(); cause != nil && err != nil {
		return nil, cause
	}
	return resp, err
}

// RequestSent lets the next one go of those whose turn came together.
func (x *exchange) RequestSent() { x.pass.Sent() }

// BodySent gives back the body's memory, long before the answer may come.
func (x *exchange) BodySent() { x.body.Release() }
