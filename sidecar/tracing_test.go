package sidecar

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/sidecar/account"
	"github.com/usher-sidecar/usher/sidecar/front"
	"github.com/usher-sidecar/usher/sidecar/trace"
)

// trace does what tracing adds to one request.
func (x *exchange) trace(now time.Time) {
	if x.h.tracer != nil {
		x.h.beginTrace(x)
	}
	_ = x.span.Send(x.account.Times.Sent)
	if x.h.tracer != nil {
		x.account.Times.End = now
		x.h.tracer.Ended(&x.account)
	}
}

// If tracing is off, it allocates nothing.
func TestTracingOffIsFree(t *testing.T) {
	x, now := &exchange{request: request{h: &newIdle(t).handler}}, time.Now()
	require.Nil(t, x.h.tracer)
	require.Zero(t, testing.AllocsPerRun(1000, func() { x.trace(now) }))
}

// BenchmarkTracing measures what tracing adds to one request: off, and on with an
// unreachable collector, so that most spans are made and then dropped.
func BenchmarkTracing(b *testing.B) {
	now := time.Now()
	b.Run("off", func(b *testing.B) {
		x := &exchange{request: request{h: &handler{}}}
		b.ReportAllocs()
		for b.Loop() {
			x.trace(now)
		}
	})
	b.Run("on", func(b *testing.B) {
		b.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
		tracer, err := trace.New(b.Context(), "", func(error) {})
		require.NoError(b, err)
		b.Cleanup(func() { _ = tracer.Close() })
		h, c := &handler{tracer: tracer}, &front.Conn{Head: front.Head{Method: []byte("POST")}}
		b.ReportAllocs()
		for b.Loop() {
			x := &exchange{request: request{h: h, conn: c}}
			x.account.Route, x.account.Outcome, x.account.Times.Start, x.account.Times.Sent, x.account.Times.VerifyAt = "/generate", account.OK, now, now, now
			x.trace(now)
		}
	})
}
