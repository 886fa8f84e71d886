package sidecar

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Outcomes besides the codes of the refusals.
const (
	outcomeOK            = "ok"
	outcomeUpstreamError = "upstream_error" // relayed whole, but a 5xx of the model server's own
	outcomeClientGone    = "client_gone"
	outcomeClientSlow    = "client_stalled"
	outcomeCut           = "cut"
)

// statusClientGone is logged for a client that left before its answer, as nginx
// does; it is never sent.
const statusClientGone = 499

// routeOther is the label of every path that is no route.
const routeOther = "other"

// A record is what the log and the metrics say about one request: one line
// each. It holds no prompt, signature or key.
type record struct {
	requestID string
	traceID   string // of the trace that the client's traceparent names; "": none
	client    string
	route     string
	endpoint  string
	reqnum    int64 // -1: none was read
	cost      float64
	outcome   string
	status    int
	detail    string // why the model server failed; never sent to the client

	start             time.Time
	took              time.Duration // from start to the end, once it is logged
	verifyAt          time.Time     // when its verification began; zero: it did not
	verify            time.Duration // of the signature
	hold, queue, ttfb time.Duration // ttfb is 0 while nothing was sent
	upstream          time.Duration // from taking a line to the response's head
	bytesIn, bytesOut int64
	sent              time.Time // when its sending to the model server began; zero: it did not
	streamed          bool      // the answer was an event stream
	pieces            int       // of the answer's body, as they came
	exceeded          bool
}

// log writes the request's one line. Refusals are the clients' doing and no cause
// for alarm: they stand at info like every other request. In a flood of requests
// that never got their turn, some are counted in place of it.
func (x *exchange) log(now time.Time) {
	s := x.sidecar
	ce := s.log.Check(zap.InfoLevel, "request")
	if ce != nil && (x.admitted || s.sampler.allow(x.outcome, now)) {
		x.took = now.Sub(x.start)
		ce.Write(zap.Inline(&x.record))
	}
}

// MarshalLogObject implements zapcore.ObjectMarshaler: the log's flat members.
func (r *record) MarshalLogObject(to zapcore.ObjectEncoder) error {
	to.AddString("request_id", r.requestID)
	if r.traceID != "" {
		to.AddString("trace_id", r.traceID)
	}
	to.AddString("client", r.client)
	to.AddString("route", r.route)
	if r.endpoint != "" {
		to.AddString("endpoint", shortened(r.endpoint))
	}
	if r.reqnum >= 0 {
		to.AddInt64("reqnum", r.reqnum)
		to.AddFloat64("cost", r.cost)
	}
	to.AddString("outcome", r.outcome)
	to.AddInt("status", r.status)
	to.AddFloat64("hold_ms", millis(r.hold))
	to.AddFloat64("queue_ms", millis(r.queue))
	to.AddFloat64("ttfb_ms", millis(r.ttfb))
	to.AddFloat64("duration_ms", millis(r.took))
	to.AddInt64("bytes_in", r.bytesIn)
	to.AddInt64("bytes_out", r.bytesOut)
	if r.exceeded {
		to.AddBool("cost_exceeded", true)
	}
	if r.detail != "" {
		to.AddString("detail", r.detail)
	}
	return nil
}

// maxLoggedName is how much of a name that a client chose stands in the log, in
// bytes.
const maxLoggedName = 64

// shortened cuts a name that may be as long as a request's body.
func shortened(name string) string {
	if len(name) <= maxLoggedName {
		return name
	}
	return strings.ToValidUTF8(name[:maxLoggedName], "") + "…"
}

// timing is the value of Server-Timing (W3C Server Timing, section 3): where the
// time went until the head of the answer, in milliseconds. What was not reached
// is 0.
func (r *record) timing(dst []byte) []byte {
	for i, part := range [...]struct {
		name string
		took time.Duration
	}{{"verify;dur=", r.verify}, {"hold;dur=", r.hold}, {"queue;dur=", r.queue}, {"upstream;dur=", r.upstream}} {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = append(dst, part.name...)
		dst = strconv.AppendFloat(dst, millis(part.took), 'f', -1, 64)
	}
	return dst
}

// millis is a duration in milliseconds, to the microsecond.
func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// maxRequestID is how long a client's X-Request-Id may be.
const maxRequestID = 128

// requestID keeps the client's id if it is harmless, or makes one.
func requestID(h *fasthttp.RequestHeader) string {
	if ids := h.PeekAll(headerRequestID); len(ids) == 1 && safeID(ids[0]) {
		return string(ids[0])
	}
	return newRequestID()
}

func safeID(id []byte) bool {
	for _, c := range id {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '_', c == '.', c == ':', c == '/', c == '+', c == '=', c == '@', c == '~':
		default:
			return false
		}
	}
	return len(id) > 0 && len(id) <= maxRequestID
}

// newRequestID makes 128 random bits; an id names a request, it guards nothing.
func newRequestID() string {
	const digits = "0123456789abcdef"
	var id [32]byte
	for i, bits := range [2]uint64{rand.Uint64(), rand.Uint64()} {
		for j := range 16 {
			id[16*i+j] = digits[bits&15]
			bits >>= 4
		}
	}
	return string(id[:])
}
