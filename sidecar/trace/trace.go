// Package trace exports to OpenTelemetry where the time of a request went. Spans are
// made when a request ends, from the times in its account. Only two are begun earlier,
// because others need their ids: the request's, and the one that the model server
// continues.
package trace

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// FlushTimeout bounds how long Close waits for the last spans to be sent.
const FlushTimeout = 3 * time.Second

// reportInterval is the least time between two reports that spans could not be sent.
const reportInterval = time.Minute

// A Tracer makes the spans of requests and exports them in the background. If the
// collector does not keep up, spans are dropped; no request waits. It is safe for
// concurrent use.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

// New makes a tracer that exports by OTLP over HTTP, in protobuf. The standard
// OTEL_* variables of the process say where to, how much (OTEL_TRACES_SAMPLER) and
// under which name; report is called with failures, at most once a minute. An error
// names each wrong variable. There can be only one tracer per process, because
// OpenTelemetry's error handler is global.
func New(ctx context.Context, version string, report func(error)) (*Tracer, error) {
	otel.SetLogger(logr.Discard())
	otel.SetErrorHandler(&handler{report: report})
	exporter, err := newExporter(version)
	if err != nil {
		return nil, err
	}
	who, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "usher"), attribute.String("service.version", version)),
		resource.WithTelemetrySDK(),
		resource.WithFromEnv()) // overrides the others
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(who))
	return &Tracer{provider, provider.Tracer("github.com/usher-sidecar/usher", trace.WithInstrumentationVersion(version))}, nil
}

// Close exports what is left, within FlushTimeout.
func (t *Tracer) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), FlushTimeout)
	defer cancel()
	return t.provider.Shutdown(ctx)
}

// A handler passes OpenTelemetry's errors on, at most one in each reportInterval.
type handler struct {
	report func(error)
	last   atomic.Pointer[time.Time] // nil: never
}

// Handle implements otel.ErrorHandler.
func (h *handler) Handle(err error) {
	now, last := time.Now(), h.last.Load()
	if (last == nil || now.Sub(*last) >= reportInterval) && h.last.CompareAndSwap(last, &now) {
		h.report(err)
	}
}

// A Request holds the spans of one request. It is for one goroutine at a time.
type Request struct {
	tracer trace.Tracer
	ctx    context.Context // holds span
	span   trace.Span
	proxy  trace.Span // nil: not sent
}

// Begin opens the span of a request that came at start, as a child of the one that
// the client's W3C headers name, if any. It returns nil if the sampler does not
// select it.
func (t *Tracer) Begin(start time.Time, name, traceparent, tracestate string) *Request {
	ctx := context.Background()
	if traceparent != "" {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": traceparent, "tracestate": tracestate})
	}
	ctx, span := t.tracer.Start(ctx, name, trace.WithTimestamp(start), trace.WithSpanKind(trace.SpanKindServer))
	if !span.IsRecording() {
		return nil
	}
	return &Request{tracer: t.tracer, ctx: ctx, span: span}
}

// TraceID returns the id of the trace that the request belongs to.
func (r *Request) TraceID() string { return r.span.SpanContext().TraceID().String() }

// Send opens the span of the exchange with the model server and returns the traceparent
// to send there. A nil Request returns "", so that the client's own traceparent is
// passed on, as without tracing.
func (r *Request) Send(at time.Time) string {
	if r == nil {
		return ""
	}
	_, r.proxy = r.tracer.Start(r.ctx, "proxy", trace.WithTimestamp(at), trace.WithSpanKind(trace.SpanKindClient))
	c := r.proxy.SpanContext()
	return "00-" + c.TraceID().String() + "-" + c.SpanID().String() + "-" + c.TraceFlags().String()
}
