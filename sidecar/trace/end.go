package trace

import (
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// An Account is how a request went, without anything of its content.
type Account struct {
	RequestID string
	Client    string // address
	Route     string
	Reqnum    int64 // -1: none was read
	Cost      float64
	Outcome   string // "ok", or what went wrong
	Status    int

	Start, End        time.Time
	VerifyAt          time.Time     // zero: no signature was verified
	Verify            time.Duration // for how long
	Hold, Queue       time.Duration // waiting, in this order
	Sent              time.Time     // to the model server; zero: it was not
	FirstByte         time.Time     // of the answer's body; zero: there was none
	BytesIn, BytesOut int64
}

// End makes the remaining spans and closes them all: admit with parse, verify,
// hold and queue, and proxy.
func (r *Request) End(a *Account) {
	admitted := a.End
	if !a.Sent.IsZero() {
		admitted = a.Sent
	}
	ctx, admit := r.tracer.Start(r.ctx, "admit", trace.WithTimestamp(a.Start))
	step := func(name string, from, to time.Time) {
		_, s := r.tracer.Start(ctx, name, trace.WithTimestamp(from))
		s.End(trace.WithTimestamp(to))
	}
	parsed := admitted
	if !a.VerifyAt.IsZero() {
		parsed = a.VerifyAt
	}
	step("parse", a.Start, parsed)
	if !a.VerifyAt.IsZero() {
		step("verify", a.VerifyAt, a.VerifyAt.Add(a.Verify))
	}
	queued := admitted.Add(-a.Queue)
	if a.Hold > 0 {
		step("hold", queued.Add(-a.Hold), queued)
	}
	if a.Queue > 0 {
		step("queue", queued, admitted)
	}
	if r.proxy == nil {
		fail(admit, a)
	}
	admit.End(trace.WithTimestamp(admitted))

	if r.proxy != nil {
		if !a.FirstByte.IsZero() {
			r.proxy.AddEvent("first byte", trace.WithTimestamp(a.FirstByte))
		}
		fail(r.proxy, a)
		r.proxy.End(trace.WithTimestamp(a.End))
	}
	r.span.SetAttributes(a.attributes()...)
	fail(r.span, a)
	r.span.End(trace.WithTimestamp(a.End))
}

// attributes are named by the HTTP semantic conventions where these have a name.
func (a *Account) attributes() []attribute.KeyValue {
	list := []attribute.KeyValue{
		attribute.String("http.route", a.Route),
		attribute.Int("http.response.status_code", a.Status),
		attribute.String("client.address", a.Client),
		attribute.Int64("http.request.body.size", a.BytesIn),
		attribute.Int64("http.response.body.size", a.BytesOut),
		attribute.String("usher.request_id", a.RequestID),
		attribute.String("usher.outcome", a.Outcome),
	}
	if a.Reqnum >= 0 {
		list = append(list, attribute.Int64("usher.reqnum", a.Reqnum), attribute.Float64("usher.cost", a.Cost))
	}
	return list
}

// fail marks a span with what went wrong. A refusal is the client's doing and,
// by the conventions, no error of the server.
func fail(s trace.Span, a *Account) {
	if a.Outcome == "ok" {
		return
	}
	s.SetAttributes(attribute.String("error.type", a.Outcome))
	if a.Status >= 500 || strings.HasPrefix(a.Outcome, "upstream_") || a.Outcome == "cut" {
		s.SetStatus(codes.Error, a.Outcome)
	}
}
