package trace

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/usher-sidecar/usher/sidecar/account"
)

// Ended implements account.Sink. It ends the request's spans.
func (t *Tracer) Ended(a *account.Request) {
	if a.Span != nil {
		a.Span.Ended(a)
	}
}

// Ended implements account.Sink. It makes the remaining spans and closes them
// all: admit with parse, verify, hold and queue, and proxy.
func (r *Request) Ended(a *account.Request) {
	admitted := a.Times.End
	if !a.Times.Sent.IsZero() {
		admitted = a.Times.Sent
	}
	ctx, admit := r.tracer.Start(r.ctx, "admit", trace.WithTimestamp(a.Times.Start))
	step := func(name string, from, to time.Time) {
		_, s := r.tracer.Start(ctx, name, trace.WithTimestamp(from))
		s.End(trace.WithTimestamp(to))
	}
	parsed := admitted
	if !a.Times.VerifyAt.IsZero() {
		parsed = a.Times.VerifyAt
	}
	step("parse", a.Times.Start, parsed)
	if !a.Times.VerifyAt.IsZero() {
		step("verify", a.Times.VerifyAt, a.Times.VerifyAt.Add(a.Times.Verify))
	}
	queued := admitted.Add(-a.Times.Queue)
	if a.Times.Hold > 0 {
		step("hold", queued.Add(-a.Times.Hold), queued)
	}
	if a.Times.Queue > 0 {
		step("queue", queued, admitted)
	}
	if r.proxy == nil {
		fail(admit, a)
	}
	admit.End(trace.WithTimestamp(admitted))

	if r.proxy != nil {
		if a.Times.FirstByte > 0 {
			r.proxy.AddEvent("first byte", trace.WithTimestamp(a.Times.Start.Add(a.Times.FirstByte)))
		}
		fail(r.proxy, a)
		r.proxy.End(trace.WithTimestamp(a.Times.End))
	}
	r.span.SetAttributes(attributes(a)...)
	fail(r.span, a)
	r.span.End(trace.WithTimestamp(a.Times.End))
}

// attributes returns the attributes of the request's span. They are named by the HTTP
// semantic conventions, as far as these have a name.
func attributes(a *account.Request) []attribute.KeyValue {
	list := []attribute.KeyValue{
		attribute.String("http.route", a.Route),
		attribute.Int("http.response.status_code", a.Status),
		attribute.String("client.address", a.Client),
		attribute.Int64("http.request.body.size", a.BytesIn),
		attribute.Int64("http.response.body.size", a.BytesOut),
		attribute.String("usher.request_id", a.ID),
		attribute.String("usher.outcome", a.Outcome.String()),
	}
	if a.Ticket.Reqnum >= 0 {
		list = append(list, attribute.Int64("usher.reqnum", a.Ticket.Reqnum), attribute.Float64("usher.cost", a.Ticket.Cost))
	}
	return list
}

// fail marks a span with what went wrong. According to the conventions, a refusal that
// the client caused is not a server error.
func fail(s trace.Span, a *account.Request) {
	if a.Outcome == account.OK {
		return
	}
	s.SetAttributes(attribute.String("error.type", a.Outcome.String()))
	if a.Status >= 500 || a.Outcome.Class() == account.ClassModel || a.Outcome == account.Cut {
		s.SetStatus(codes.Error, a.Outcome.String())
	}
}
