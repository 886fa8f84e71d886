package sidecar

import (
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/sidecar/account"
)

// begin opens the account of a request.
func (s *Sidecar) begin(ctx *fasthttp.RequestCtx) *exchange {
	head := &ctx.Request.Header
	x := &exchange{sidecar: s, conn: ctx.Conn().(*conn), target: head.RequestURI()}
	x.account.Times.Start = time.Now()
	x.account.ID = requestID(head)
	x.account.TraceID = traceIDOf(head)
	x.crowded = x.findClient(ctx)
	x.account.Ticket.Reqnum = -1
	x.pass.Begin(s.gate, &x.account)
	x.account.Route = account.RouteOther
	path, _ := splitTarget(x.target)
	if api, ok := s.routes[string(path)]; ok {
		x.api, x.account.Route = api, string(path)
	} else {
		x.api = dialect.Of(string(path))
	}
	if s.tracer != nil {
		x.beginTrace(head)
	}
	s.calls.add(&x.call)
	x.conn.watched.Watch(&x.call)
	return x
}

// isAside tells whether a request is for one of the small answers that the
// public listener gives besides the routes.
func isAside(h *fasthttp.RequestHeader) bool {
	if !h.IsGet() && !h.IsHead() {
		return false
	}
	path, _ := splitTarget(h.RequestURI())
	return string(path) == "/health" || string(path) == "/ping"
}

// answerAside answers health, ping and CORS preflights; they are no requests in
// the sense of log and metrics.
func (s *Sidecar) answerAside(ctx *fasthttp.RequestCtx) bool {
	head := &ctx.Request.Header
	if string(head.Peek(verdictHeader)) == verdictFraming {
		return false
	}
	if s.cors.isPreflight(head) {
		s.cors.preflight(ctx)
		return true
	}
	if !isAside(head) {
		return false
	}
	path, _ := splitTarget(head.RequestURI())
	s.cors.annotate(head, &ctx.Response.Header)
	ctx.SetContentType("text/plain; charset=utf-8")
	if string(path) == "/ping" {
		ctx.SetBodyString("pong")
		return true
	}
	if s.readiness().OK() {
		ctx.SetBodyString("ok")
		return true
	}
	ctx.SetStatusCode(fasthttp.StatusServiceUnavailable)
	ctx.SetBodyString("unavailable")
	return true
}

// serveFault answers what fasthttp could not read as a request. Its error text
// may hold what came off the wire and goes nowhere.
func (s *Sidecar) serveFault(ctx *fasthttp.RequestCtx, err error) {
	c := ctx.Conn().(*conn)
	if !c.spoke {
		// Nothing of a request ever came: a port scan, a preconnected socket or
		// a failed TLS handshake. There is nobody to answer.
		_ = c.Close()
		return
	}
	c.recall(&ctx.Request.Header)
	c.forget()
	x := s.begin(ctx)
	_ = ctx.SetWriteDeadline(x.account.Times.Start.Add(s.cfg.WriteTimeout))
	if c.failed != nil {
		err = c.failed // fasthttp may have made something else of it
	}
	fault := faultOf(err, c.midLine)
	if fault == nil {
		x.cancel(errClientGone)
		x.refuse(ctx, errClientGone)
		return
	}
	x.refuse(ctx, fault)
}

// faultOf turns fasthttp's errors into faults; nil when the client broke off.
func faultOf(err error, midLine bool) *httpFault {
	var small *fasthttp.ErrSmallBuffer
	switch {
	case errors.As(err, &small) && midLine:
		return &httpFault{fasthttp.StatusRequestURITooLong, "The request target is too long"}
	case errors.As(err, &small):
		return &httpFault{fasthttp.StatusRequestHeaderFieldsTooLarge, "The request head is too large"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &httpFault{fasthttp.StatusRequestTimeout, "The request did not arrive in time"}
	case isBreak(err):
		return nil
	}
	return &httpFault{fasthttp.StatusBadRequest, "The request is not acceptable HTTP/1.1"}
}

// isBreak tells whether err is the client breaking off.
func isBreak(err error) bool {
	var network net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.As(err, &network)
}
