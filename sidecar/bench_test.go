package sidecar

import (
	"io"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/usher-sidecar/usher/sidecar/account"
)

// benchRequest is a successful request.
func benchRequest(now time.Time) account.Request {
	return account.Request{
		ID: "0123456789abcdef0123456789abcdef", Client: "203.0.113.9", Route: "/generate", Status: 200,
		Ticket: account.Ticket{Endpoint: "my-endpoint", Reqnum: 14395, Cost: 256, Reserved: true, Admitted: true},
		Times: account.Times{
			Start: now.Add(-time.Second), Sent: now.Add(-999 * time.Millisecond), End: now, FirstByte: 100 * time.Millisecond,
			Verify: 22 * time.Microsecond, Hold: 2 * time.Millisecond, Upstream: 98 * time.Millisecond,
		},
		BytesIn: 1024, BytesOut: 4300, Answer: account.Answer{EventStream: true, Pieces: 100},
	}
}

// BenchmarkObserve measures accounting for a request in the metrics.
func BenchmarkObserve(b *testing.B) {
	m, r := newIdle(b).metrics, benchRequest(time.Now())
	b.ReportAllocs()
	for b.Loop() {
		m.Ended(&r)
	}
}

// BenchmarkLogLine measures encoding a request's log line, without writing it.
func BenchmarkLogLine(b *testing.B) {
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{
		TimeKey: "time", LevelKey: "level", MessageKey: "msg",
		EncodeTime: zapcore.RFC3339NanoTimeEncoder, EncodeLevel: zapcore.LowercaseLevelEncoder,
	})
	l := requestLog{zap.New(zapcore.NewCore(encoder, zapcore.AddSync(io.Discard), zap.InfoLevel)), newSampler(zap.NewNop())}
	now := time.Date(2026, 11, 24, 12, 0, 0, 123456789, time.UTC)
	r := benchRequest(now)
	b.ReportAllocs()
	for b.Loop() {
		l.Ended(&r)
	}
}
