package report

import (
	"sync"

	"github.com/usher-sidecar/usher/sidecar/account"
)

// A Counter counts requests by their accounts. Make it with NewCounter; safe for
// concurrent use.
type Counter struct {
	tally *Tally
	works sync.Pool
}

// NewCounter makes a Counter for a tally.
func NewCounter(t *Tally) *Counter {
	c := &Counter{tally: t}
	c.works.New = func() any { return &counted{counter: c} }
	return c
}

// A counted is the sink of one request, with what the tally needs to know of it.
type counted struct {
	counter *Counter
	work    Work
}

// Accepted counts a request whose ticket was verified, and makes its account report
// its end.
func (c *Counter) Accepted(r *account.Request) {
	w := c.works.Get().(*counted)
	w.work = c.tally.Begin(r.Ticket.Workload, r.Ticket.Index)
	r.Report = w
}

// Ended implements account.Sink.
func (c *Counter) Ended(r *account.Request) {
	if r.Report != nil {
		r.Report.Ended(r)
		r.Report = nil
	}
}

// Ended implements account.Sink for the one request.
func (w *counted) Ended(r *account.Request) {
	w.counter.tally.End(&w.work, endOf(r), timesOf(r))
	w.counter.works.Put(w)
}

// endOf returns how a report counts an outcome.
func endOf(r *account.Request) End {
	switch r.Outcome {
	case account.OK:
		if r.Status < 200 || r.Status > 299 {
			return Answered
		}
		return Served
	case account.UpstreamRefused:
		return Answered
	case account.ClientGone, account.ClientStalled:
		return Cancelled
	case account.CostExceeded, account.QueueFull, account.QueueTimeout, account.Draining:
		return TurnedAway
	case account.UpstreamError, account.UpstreamUnreachable, account.UpstreamBroken, account.UpstreamTimeout,
		account.Cut, account.Internal:
		return Failed
	}
	return Refused
}

// timesOf returns when a request reached its stages.
func timesOf(r *account.Request) (t Times) {
	if r.Ticket.Admitted || r.Times.Hold+r.Times.Queue > 0 {
		t.Queued = r.Times.VerifyAt.Add(r.Times.Verify)
	}
	if !r.Times.Sent.IsZero() {
		t.Started, t.Completed = r.Times.Sent, r.Times.End
	}
	return t
}
