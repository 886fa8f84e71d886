// Package status shows a sidecar at work: a Recorder that the data path feeds
// with nothing but cheap stores, a Snapshot of it with a verdict in plain words,
// and the pages that show it, live.
package status

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/usher-sidecar/usher/sidecar/account"
)

const (
	// HistorySpan is how far back the page's charts go, HistoryStep the time
	// between two points of them.
	HistorySpan = 15 * time.Minute
	HistoryStep = 5 * time.Second

	historyPoints = int(HistorySpan / HistoryStep)
	// minutePoints is how many steps "the last minute" has.
	minutePoints = int(time.Minute / HistoryStep)
	// ratePoints is how many steps "now" has: long enough to be steady.
	ratePoints = 2
)

// A Recorder gathers what the pages show: it is an account.Meter. What the data
// path calls takes no allocation and no lock (a refusal: one short one), whether
// pages are open or not. Make it with NewRecorder.
type Recorder struct {
	Strip Strip

	firstByte Histogram // from the request's head to the first byte of its answer
	tokenGap  Histogram // between two pieces of a stream
	hold      Histogram // waited for a missing number
	queue     Histogram // waited for a slot

	ended    [account.Outcomes]atomic.Uint64 // requests by outcome, since the start
	refusals refusals

	mu      sync.Mutex // guards history
	history history
}

// NewRecorder makes a Recorder that nothing was told yet.
func NewRecorder() *Recorder { return new(Recorder) }

// Verified implements account.Meter; the pages do not show it.
func (r *Recorder) Verified(time.Duration) {}

// Waited implements account.Meter.
func (r *Recorder) Waited(hold, queue time.Duration) {
	r.hold.Observe(hold)
	r.queue.Observe(queue)
}

// FirstByte implements account.Meter.
func (r *Recorder) FirstByte(a *account.Request) { r.firstByte.Observe(a.Times.FirstByte) }

// Gap implements account.Meter.
func (r *Recorder) Gap(since time.Duration) { r.tokenGap.Observe(since) }

// Ended implements account.Sink.
func (r *Recorder) Ended(a *account.Request) {
	r.ended[a.Outcome].Add(1)
	if a.Ticket.Reserved {
		r.Strip.Ended(a.Ticket.Reqnum, states[a.Outcome])
	} else if a.Outcome == account.BadSignature {
		r.Strip.Claimed(a.Ticket.Reqnum)
	}
	if a.Outcome.Refused() {
		r.refusals.add(Refusal{
			At: a.Times.End, RequestID: a.ID, Client: a.Client, Route: a.Route, Reqnum: a.Ticket.Reqnum,
			Code: a.Outcome.String(), Status: a.Status, Detail: a.Detail,
			WaitedMS: float64((a.Times.Hold + a.Times.Queue).Microseconds()) / 1000,
		})
	}
}

// states are how the strip shows the ends of requests whose number was good.
var states = func() (t [account.Outcomes]State) {
	for o := range t {
		switch account.Outcome(o).Class() {
		case account.ClassServed:
			t[o] = Served
		case account.ClassGone:
			t[o] = Gone
		case account.ClassModel:
			t[o] = Failed
		default:
			t[o] = Refused
		}
	}
	return t
}()

// A Sample is what Sample needs to know beside what the Recorder counted.
type Sample struct {
	InFlight  int
	Waiting   int
	Hold      float64 // in force, seconds
	Reordered float64 // share of the requests admitted lately
}

// Sample adds a point to the history; it is to be called every HistoryStep.
func (r *Recorder) Sample(now time.Time, s Sample) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history.add(now, s, r)
}
