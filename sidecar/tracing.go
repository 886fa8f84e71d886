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
// a few comparisons with nil.
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
func (h *handler) beginTrace(x *exchange) {
	head := &x.conn.Head
	name := "HTTP" // the conventions' word where the method is not known
	if x.route != nil || head.Is("POST") {
		name = string(head.Method) // one of a route's: a client may make up others
	}
	if x.account.Route != account.RouteOther {
		name += " " + strings.TrimPrefix(x.account.Route, name+" ")
	}
	var parent, state string
	if x.account.TraceID != "" {
		parent, state = string(head.Value(front.Traceparent)), string(head.Value(front.Tracestate))
	}
	if x.span = h.tracer.Begin(x.account.Times.Start, name, parent, state); x.span != nil {
		x.account.TraceID, x.account.Span = x.span.TraceID(), x.span
	}
}
