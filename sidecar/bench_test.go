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

// benchRecord is a request that went well.
func benchRecord(now time.Time) record {
	return record{
		requestID: "0123456789abcdef0123456789abcdef", client: "203.0.113.9", route: "/generate", endpoint: "my-endpoint",
		reqnum: 14395, cost: 256, outcome: outcomeOK, status: 200,
		start: now.Add(-time.Second), sent: now.Add(-999 * time.Millisecond), ttfb: 100 * time.Millisecond,
		verify: 22 * time.Microsecond, hold: 2 * time.Millisecond, upstream: 98 * time.Millisecond,
		bytesIn: 1024, bytesOut: 4300, streamed: true, pieces: 100,
	}
}

// BenchmarkObserve is accounting for a request in the metrics.
func BenchmarkObserve(b *testing.B) {
	m, now := newIdle(b).metrics, time.Now()
	r := benchRecord(now)
	b.ReportAllocs()
	for b.Loop() {
		m.observe(&r, now)
	}
}

// BenchmarkLogLine is making a request's line, written to nowhere.
func BenchmarkLogLine(b *testing.B) {
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{
		TimeKey: "time", LevelKey: "level", MessageKey: "msg",
		EncodeTime: zapcore.RFC3339NanoTimeEncoder, EncodeLevel: zapcore.LowercaseLevelEncoder,
	})
	s := newIdle(b)
	s.log = zap.New(zapcore.NewCore(encoder, zapcore.AddSync(io.Discard), zap.InfoLevel))
	now := time.Date(2026, 11, 24, 12, 0, 0, 123456789, time.UTC)
	x := &exchange{sidecar: s, record: benchRecord(now), admitted: true}
	b.ReportAllocs()
	for b.Loop() {
		x.log(now)
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
	x.start = now
	r := &relay{x: x, framing: byChunks, events: true, last: now}
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
