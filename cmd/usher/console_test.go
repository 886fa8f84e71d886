package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func TestConsole(t *testing.T) {
	request := func(status int, outcome string, more ...zap.Field) []zap.Field {
		return append([]zap.Field{
			zap.String("request_id", "8c1f"), zap.String("client", "10.0.0.7"), zap.String("route", "/generate"),
			zap.Int64("reqnum", 14395), zap.Float64("cost", 256),
			zap.String("outcome", outcome), zap.Int("status", status),
			zap.Float64("hold_ms", 0), zap.Float64("queue_ms", 12.5), zap.Float64("ttfb_ms", 180.25), zap.Float64("duration_ms", 1234.5),
			zap.Int64("bytes_in", 640), zap.Int64("bytes_out", 13_440)}, more...)
	}
	for name, test := range map[string]struct {
		level   zapcore.Level
		message string
		fields  []zap.Field
		want    string
	}{
		"a request": {zap.InfoLevel, "request", request(200, "ok"),
			"14:03:05.120 200 ok                      1.23s  /generate            #14395    queued 12.5ms  first byte 180ms  640 B in 13.4 kB out  request_id=8c1f  client=10.0.0.7  cost=256\n"},
		"what a request has besides": {zap.InfoLevel, "request", request(502, "upstream_broken", zap.String("detail", "EOF after 3 bytes")),
			"14:03:05.120 502 upstream_broken         1.23s  /generate            #14395    queued 12.5ms  first byte 180ms  640 B in 13.4 kB out  request_id=8c1f  client=10.0.0.7  cost=256  detail=\"EOF after 3 bytes\"\n"},
		"not a request": {zap.InfoLevel, "listening", []zap.Field{zap.String("public", "[::]:3000"), zap.Bool("tls", false)},
			"14:03:05.120 listening  public=[::]:3000  tls=false\n"},
		"a warning": {zap.WarnLevel, "model server is not healthy", []zap.Field{zap.Error(errors.New("connection refused"))},
			"14:03:05.120 WARN  model server is not healthy  error=\"connection refused\"\n"},
		"an error with its stack": {zap.ErrorLevel, "internal fault", []zap.Field{zap.String("stack", "main.f\n\tmain.go:1")},
			"14:03:05.120 ERROR internal fault\n    main.f\n    \tmain.go:1\n"},
		"tricks": {zap.InfoLevel, "x", []zap.Field{zap.String("endpoint", "a\x1b[31m\u202eb")},
			"14:03:05.120 x  endpoint=\"a\\x1b[31m\\u202eb\"\n"},
	} {
		t.Run(name, func(t *testing.T) {
			entry := zapcore.Entry{Level: test.level, Message: test.message, Time: time.Date(2026, 1, 2, 14, 3, 5, 120e6, time.UTC)}
			for _, colour := range []bool{false, true} {
				line, err := newConsole(colour).EncodeEntry(entry, test.fields)
				require.NoError(t, err)
				got := line.String()
				if colour {
					require.Contains(t, got, dim)
					got = strings.NewReplacer(plain, "", dim, "", red, "", green, "", yellow, "", blue, "").Replace(got)
				}
				require.Equal(t, test.want, got, "colour is on top of the same words")
			}
		})
	}
}

func TestSpanAndSize(t *testing.T) {
	for ms, want := range map[float64]string{0: "0", .031: "31µs", 1.5: "1.5ms", 12.345: "12.3ms", 999.4: "999ms", 1234: "1.23s", 59_000: "59s", 754_000: "12m34s"} {
		require.Equal(t, want, span(ms))
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 16_777_216: "16.8 MB"} {
		require.Equal(t, want, size(n))
	}
}

func TestWantsColour(t *testing.T) {
	require.False(t, wantsColour(&strings.Builder{}, nil))
}
