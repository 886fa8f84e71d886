package sidecar

import (
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/usher-sidecar/usher/sidecar/account"
	"github.com/usher-sidecar/usher/sidecar/asynclog"
)

// A requestLog writes one line for each request that has ended.
type requestLog struct {
	log     *zap.Logger
	sampler *sampler
}

// A line is an account as a line of the log.
type line account.Request

// Ended implements account.Sink. Refusals are logged at level info like every other
// request, because clients cause them. In a flood of refused requests, some are
// counted but not logged.
func (l requestLog) Ended(a *account.Request) {
	ce := l.log.Check(zap.InfoLevel, "request")
	if ce != nil && (a.Ticket.Admitted || l.sampler.allow(a.Outcome, a.Times.End)) {
		ce.Write(zap.Inline((*line)(a)))
	}
}

// leftOut returns how many lines were left out since the start, by outcome: those
// sampled away, and those dropped because nobody read the log.
func (l requestLog) leftOut() map[string]uint64 {
	byOutcome := map[string]uint64{asynclog.OutcomeNone: 0}
	for o := range account.Outcomes {
		byOutcome[o.String()] = l.sampler.total(o)
	}
	if w := asynclog.WriterOf(l.log); w != nil {
		for outcome, n := range w.LeftOut() {
			byOutcome[outcome] += n
		}
	}
	return byOutcome
}

// LogOutcome implements asynclog.Request.
func (l *line) LogOutcome() string { return l.Outcome.String() }

// MarshalLogObject implements zapcore.ObjectMarshaler: the log's flat members.
func (l *line) MarshalLogObject(to zapcore.ObjectEncoder) error {
	to.AddString("request_id", l.ID)
	if l.TraceID != "" {
		to.AddString("trace_id", l.TraceID)
	}
	to.AddString("client", l.Client)
	to.AddString("route", l.Route)
	if l.Ticket.Endpoint != "" {
		to.AddString("endpoint", shortened(l.Ticket.Endpoint))
	}
	if l.Ticket.Reqnum >= 0 {
		to.AddInt64("reqnum", l.Ticket.Reqnum)
		to.AddFloat64("cost", l.Ticket.Cost)
	}
	to.AddString("outcome", l.Outcome.String())
	to.AddInt("status", l.Status)
	to.AddFloat64("hold_ms", millis(l.Times.Hold))
	to.AddFloat64("queue_ms", millis(l.Times.Queue))
	to.AddFloat64("ttfb_ms", millis(l.Times.FirstByte))
	to.AddFloat64("duration_ms", millis(l.Times.End.Sub(l.Times.Start)))
	to.AddInt64("bytes_in", l.BytesIn)
	to.AddInt64("bytes_out", l.BytesOut)
	if l.Answer.Unfinished {
		to.AddBool("unfinished", true)
	}
	if l.Exceeded {
		to.AddBool("cost_exceeded", true)
	}
	if l.Detail != "" {
		to.AddString("detail", l.Detail)
	}
	return nil
}

// maxLoggedName is how much of a name chosen by a client is logged, in bytes.
const maxLoggedName = 64

// shortened truncates a name, which could be as long as a request's body.
func shortened(name string) string {
	if len(name) <= maxLoggedName {
		return name
	}
	return strings.ToValidUTF8(name[:maxLoggedName], "") + "…"
}

// timing appends the value of Server-Timing (W3C Server Timing, section 3): where
// the time went until the head of the answer, in milliseconds. Steps that were not
// reached are 0.
func timing(dst []byte, t *account.Times) []byte {
	for i, part := range [...]struct {
		name string
		took time.Duration
	}{{"verify;dur=", t.Verify}, {"hold;dur=", t.Hold}, {"queue;dur=", t.Queue}, {"upstream;dur=", t.Upstream}} {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = append(dst, part.name...)
		dst = strconv.AppendFloat(dst, millis(part.took), 'f', -1, 64)
	}
	return dst
}

// millis returns a duration in milliseconds, to the microsecond.
func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
