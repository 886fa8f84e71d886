package sidecar

import (
	"errors"
	"time"

	"github.com/usher-sidecar/usher/config/route"
	"github.com/usher-sidecar/usher/crypto"
	"github.com/usher-sidecar/usher/envelope"
	"github.com/usher-sidecar/usher/sidecar/account"
	"github.com/usher-sidecar/usher/sidecar/front"
	"github.com/usher-sidecar/usher/sidecar/gate"
	"github.com/usher-sidecar/usher/sidecar/trace"
	"github.com/usher-sidecar/usher/sidecar/upstream"
)

// A handler is all that serving a request needs.
type handler struct {
	routes   routes
	sessions *sessions // nil: there are none
	gate     *gate.Gate
	comeback *comeback
	bodies   bodies
	model    modelServer
	calls    *calls
	drain    *drain

	book    account.Book
	reports *reports      // to the autoscaler; nil: none, and no benchmark
	tracer  *trace.Tracer // nil: no tracing
	faults  faults
}

// routes says which requests are served.
type routes struct {
	*route.Table
	names string // listed for a client that asks for another path
	open  places // for requests of open routes
}

// bodies bounds the memory for request bodies.
type bodies struct {
	*front.Budget     // for those whose senders are not verified yet
	most          int // the largest body, in bytes
}

// serve answers the request that was read on c, or the fault with which reading it
// ended.
func (h *handler) serve(c *front.Conn, fault error) {
	x := h.begin(c)
	defer h.faults.recover(x)
	err := fault
	if x.blames(fault) {
		err = x.pass.OpenHeader(new(envelope.Envelope), x.ticket.token)
	}
	if err == nil {
		err = x.run()
	}
	if err != nil {
		x.refuse(err)
	}
}

// begin opens the account of a request.
func (h *handler) begin(c *front.Conn) *exchange {
	x := &exchange{request: request{h: h, conn: c}}
	a, head := &x.account, &c.Head
	a.Times.Start = time.Now()
	a.ID, a.TraceID, a.Client = head.ID(), head.TraceID(), c.Client
	a.Ticket.Reqnum = -1
	a.Route = x.find()
	x.pass.Begin(h.gate, a)
	x.pass.Occupant = (*occupant)(x)
	if h.tracer != nil {
		h.beginTrace(x)
	}
	h.calls.add(&x.call)
	c.Watch(&x.call)
	return x
}

// An exchange is one request and its answer. It takes a number, a slot and a line to
// the model server, in this order; settle gives them back in reverse, exactly once,
// however the request ends.
type exchange struct {
	call
	request
	account account.Request

	pass    gate.Pass
	waited  bool // it has begun to wait for its turn, or was admitted
	placed  bool // it holds one of the places for open routes
	line    *upstream.Conn
	settled bool
	span    *trace.Request // nil: not traced
}

// run takes the request through the checks in order and, if it passes them all, hands
// the answer to the relay. The steps up to the price never wait; all waiting is in
// those after it.
func (x *exchange) run() error {
	// 1 to 5: what the head alone shows.
	if err := x.checkHead(); err != nil {
		return err
	}
	if x.route.Open {
		return x.runOpen()
	}
	// A client that sent forged tickets on this connection has to wait.
	if x.conn.Penalty.Wait(&x.call, x.account.Client) != nil {
		return x.why()
	}
	// 6 to 14: requests about sessions are answered here, without the model server.
	if x.manages {
		return x.h.sessions.manage(x)
	}
	// 5 to 7: read the body, unless the ticket is in the head, and open the envelope.
	// It is filled in place: copies of it in this frame, which is below all the
	// others, would make verification need a stack of 16 KiB instead of 8.
	var env envelope.Envelope
	if err := x.openEnvelope(&env); err != nil {
		return err
	}
	// 8 to 13: the ticket is for this worker, fresh and genuine; from here on its
	// number is reserved.
	err := x.pass.Judge(&env.Ticket)
	punish(x.conn, err)
	if err != nil {
		return err
	}
	// 5, 6: the body beside a ticket in the head is read only now, if its work counts.
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
		x.body.Replace(payload) // a copy with a limit inserted
	}
	// 15, 16: wait for its turn.
	x.waited = true
	x.body.LeaveBudget() // from here on the queue counts it
	spooler := x.spooler()
	if err := x.pass.Wait(&x.call, max(len(payload), len(x.body.Bytes())), spooler); err != nil {
		return err
	}
	// 17, 18: take a line to the model server. The ticket is spent when sending
	// begins, and not before.
	resp, err := x.forward(payload)
	if err != nil {
		return err
	}
	relayAnswer(x, resp)
	return nil
}

// openEnvelope opens the envelope. If the ticket is not in the head, it must be in
// the body, which is then read whole.
func (x *exchange) openEnvelope(env *envelope.Envelope) error {
	switch {
	case x.ticket.twice:
		return errTwoHeadTickets
	case x.ticket.found:
		return x.pass.OpenHeader(env, x.ticket.token)
	case !x.conn.Head.Is("POST"):
		return errNoHeadTicket
	}
	if err := x.readBody(); err != nil {
		return err
	}
	return x.pass.Open(env, x.body.Bytes(), x.api)
}

// punish makes a client that sends forged tickets wait, from the second one on.
func punish(c *front.Conn, err error) {
	switch {
	case err == nil:
		c.Penalty.Good(c.Client)
	case errors.Is(err, crypto.ErrBadSignature):
		c.Penalty.Forged(c.Client, time.Now())
	}
}

// takeBody reads the body of a request whose ticket is in the head and has been
// judged good, if the work it asks for matters and can be read. Otherwise the body is
// left in the connection.
func (x *exchange) takeBody(env *envelope.Envelope) error {
	wants, _ := x.h.gate.WantsBody(x.api)
	if !wants || x.conn.Head.Encoded {
		return nil
	}
	if err := x.readBody(); err != nil {
		return err
	}
	x.body.whole = true
	return x.pass.TakeBody(env, x.body.Bytes(), x.api)
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
	body := x.leftBody()
	if body != nil {
		if err := body.Begin(); err != nil {
			return nil, err
		}
	}
	x.pass.Commit()
	x.account.Times.Sent = start
	head := &x.conn.Head
	req := upstream.Request{
		Header: head.Block, Method: head.Method, Path: head.Path, Query: head.Query,
		RequestID: x.account.ID, Body: payload, Sender: (*sender)(x), Traceparent: x.span.Send(start),
	}
	if body != nil {
		req.Source, req.Length = body, head.Length()
	}
	resp, err := line.RoundTrip(&req)
	if errors.Is(err, upstream.ErrUnreachable) || errors.Is(err, upstream.ErrRequest) {
		// The pooled connection was dead and could not be replaced, or the request
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

// A sender is an exchange while its request is sent.
type sender exchange

// RequestSent implements upstream.Sender. It lets the next of the requests that were
// admitted together go.
func (x *sender) RequestSent() { x.pass.Sent() }

// BodySent implements upstream.Sender. It frees the body's memory, perhaps long
// before the answer comes.
func (x *sender) BodySent() { x.body.Release() }
