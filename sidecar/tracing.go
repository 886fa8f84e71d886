package sidecar

import (
	"context"
	"strings"

	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/config"
	"github.com/usher-sidecar/usher/sidecar/account"
	"github.com/usher-sidecar/usher/sidecar/front"
	"github.com/usher-sidecar/usher/sidecar/trace"
)

// newTracer makes the tracer, or returns nil if tracing is off. Without it a request
// pays a few comparisons with nil.
func newTracer(cfg *config.Config, version string, log *zap.Logger) (*trace.Tracer, error) {
	if !cfg.Tracing {
		return nil, nil
	}
	return trace.New(context.Background(), version, func(err error) {
		log.Warn("spans were not sent", zap.Error(err))
	})
}

// beginTrace opens the request's span, if it is sampled.
func (h *handler) beginTrace(x *exchange) {
	head := &x.conn.Head
	name := "HTTP" // as the semantic conventions want it if the method is not known
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
