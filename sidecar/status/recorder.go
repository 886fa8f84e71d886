// Package status shows a sidecar at work: a Recorder that the data path feeds with
// nothing but cheap stores, a Snapshot of it with a verdict in plain words, and live
// pages that show it.
package status

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/usher-sidecar/usher/sidecar/account"
)

const (
	// HistorySpan is how far back the page's charts go, HistoryStep the time between
	// two of their points.
	HistorySpan = 15 * time.Minute
	HistoryStep = 5 * time.Second

	historyPoints = int(HistorySpan / HistoryStep)
	// minutePoints is how many steps "the last minute" is.
	minutePoints = int(time.Minute / HistoryStep)
	// ratePoints is how many steps "now" is: long enough to be steady.
	ratePoints = 2
)

// A Recorder is an account.Meter that gathers what the pages show. What the data path
// calls neither allocates nor locks (except briefly for a refusal), whether or not
// pages are open. Make it with NewRecorder; it is safe for concurrent use.
type Recorder struct {
	Strip Strip

	firstByte Histogram // from the request's head to the first byte of its answer
	tokenGap  Histogram // between two pieces of a stream
	hold      Histogram // wait for missing numbers
	queue     Histogram // wait for a slot

	ended    [account.Outcomes]atomic.Uint64 // requests by outcome, since the start
	refusals refusals

	mu      sync.Mutex // guards history
	history history
}

// NewRecorder makes an empty Recorder.
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

// states says how the strip shows the outcome of a request with a valid number.
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

// A Sample is what a point of the history shows besides what the Recorder counted.
type Sample struct {
	InFlight  int
	Waiting   int
	Hold      float64 // the hold in force, in seconds
	Reordered float64 // share of recently admitted requests that were out of order
}

// Sample adds a point to the history. Call it every HistoryStep.
func (r *Recorder) Sample(now time.Time, s Sample) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history.add(now, s, r)
}
