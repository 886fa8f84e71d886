package sidecar

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/sidecar/account"
)

// clientHead is such as clients send.
const clientHead = "POST /generate HTTP/1.1\r\nHost: 203.0.113.7:41234\r\nUser-Agent: python-requests/2.32.3\r\n" +
	"Accept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\nContent-Type: application/json\r\n" +
	"Content-Length: 1024\r\n\r\n"

// BenchmarkHead is all that is checked of a request's head: on the wire, between
// head and body, and in the handler.
func BenchmarkHead(b *testing.B) {
	s := newIdle(b)
	var h fasthttp.RequestHeader
	require.NoError(b, h.Read(bufio.NewReader(strings.NewReader(clientHead))))
	wire := []byte(clientHead)
	var g wireGuard
	b.ReportAllocs()
	for b.Loop() {
		if n, ok := g.pass(wire); !ok || n < len(wire) {
			b.Fatal(n)
		}
		g.took(g.declared())
		s.headReceived(&h)
		if err := s.verdict(&h); err != nil {
			b.Fatal(err)
		}
	}
}

// benchRequest is a request that went well.
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

// BenchmarkObserve is accounting for a request in the metrics.
func BenchmarkObserve(b *testing.B) {
	m, r := newIdle(b).metrics, benchRequest(time.Now())
	b.ReportAllocs()
	for b.Loop() {
		m.Ended(&r)
	}
}

// BenchmarkLogLine is making a request's line, written to nowhere.
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

// A sink takes what is written to a client.
type sink struct{ net.Conn }

func (sink) Write(p []byte) (int, error)      { return len(p), nil }
func (sink) SetWriteDeadline(time.Time) error { return nil }

// BenchmarkToken is passing one event of a stream on, but for the system calls.
func BenchmarkToken(b *testing.B) {
	x := &exchange{sidecar: newIdle(b), conn: &conn{Conn: sink{}}}
	now := time.Now()
	x.account.Times.Start = now
	r := &relay{x: x, framing: byChunks, stream: dialect.Events, last: now}
	buffer := new(relayBuffer)
	event := bytes.Clone([]byte("data: {\"token\":{\"id\":007,\"text\":\" word\"}}\n\n"))
	b.ReportAllocs()
	for b.Loop() {
		r.passed(event)
		if err := r.piece(buffer, nil, event, false); err != nil {
			b.Fatal(err)
		}
	}
}
