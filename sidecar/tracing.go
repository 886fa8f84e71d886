package sidecar

import (
	"context"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/sidecar/trace"
)

// openTracer makes the tracer, where the settings want one. Without it a
// request costs one comparison with nil at each of three places.
func (s *Sidecar) openTracer() (err error) {
	if !s.cfg.Tracing {
		return nil
	}
	s.tracer, err = trace.New(context.Background(), s.version.Number, func(err error) {
		s.log.Warn("spans were not sent", zap.Error(err))
	})
	return err
}

// beginTrace opens the request's span, if the sampler wants it.
func (x *exchange) beginTrace(h *fasthttp.RequestHeader) {
	name := "HTTP" // the conventions' word where the method is not known
	if h.IsPost() {
		name = "POST"
	}
	if x.route != routeOther {
		name += " " + x.route
	}
	var parent, state string
	if x.traceID != "" {
		parent, state = string(h.Peek(headerTraceparent)), string(h.Peek("Tracestate"))
	}
	if x.span = x.sidecar.tracer.Begin(x.start, name, parent, state); x.span != nil {
		x.traceID = x.span.TraceID()
	}
}

// sendTrace opens the span of the exchange with the model server and returns the
// traceparent to send there; "": the client's passes, as without tracing.
func (x *exchange) sendTrace() string {
	if x.span == nil {
		return ""
	}
	return x.span.Send(x.sent)
}

// endTrace makes the spans of a request that has ended.
func (x *exchange) endTrace(now time.Time) {
	if x.span == nil {
		return
	}
	a := trace.Account{
		RequestID: x.requestID, Client: x.client, Route: x.route, Reqnum: x.reqnum, Cost: x.cost,
		Outcome: x.outcome, Status: x.status, Start: x.start, End: now,
		VerifyAt: x.verifyAt, Verify: x.verify, Hold: x.hold, Queue: x.queue, Sent: x.sent,
		BytesIn: x.bytesIn, BytesOut: x.bytesOut,
	}
	if x.ttfb > 0 {
		a.FirstByte = x.start.Add(x.ttfb)
	}
	x.span.End(&a)
}
