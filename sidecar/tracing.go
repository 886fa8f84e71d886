package sidecar

import (
	"context"
	"strings"

	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/sidecar/account"
	"github.com/usher-sidecar/usher/sidecar/front"
	"github.com/usher-sidecar/usher/sidecar/trace"
)

// openTracer makes the tracer if the settings want one. Without it a request costs
// three comparisons with nil.
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
func (x *exchange) beginTrace() {
	h := &x.conn.Head
	name := "HTTP" // the conventions' word where the method is not known
	if x.route != nil || h.Is("POST") {
		name = string(h.Method) // one of a route's: a client may make up others
	}
	if x.account.Route != account.RouteOther {
		name += " " + strings.TrimPrefix(x.account.Route, name+" ")
	}
	var parent, state string
	if x.account.TraceID != "" {
		parent, state = string(h.Value(front.Traceparent)), string(h.Value(front.Tracestate))
	}
	if x.span = x.h.tracer.Begin(x.account.Times.Start, name, parent, state); x.span != nil {
		x.account.TraceID, x.account.Span = x.span.TraceID(), x.span
	}
}

// sendTrace opens the span of the exchange with the model server and returns the
// traceparent to send there. With "" the client's own passes, as without tracing.
func (x *exchange) sendTrace() string {
	if x.span == nil {
		return ""
	}
	return x.span.Send(x.account.Times.Sent)
}
