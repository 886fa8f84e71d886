// Package status shows a sidecar at work: a Recorder that the data path feeds
// with nothing but cheap stores, a Snapshot of it with a verdict in plain words,
// and the pages that show it, live.
package status

import (
	"sync"
	"time"
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

// A Class sorts the outcomes by who can do something about them.
type Class string

// The classes, in the order in which they are shown.
const (
	ClassServed Class = "served"
	ClassTicket Class = "ticket" // the client's request or ticket is at fault
	ClassBusy   Class = "busy"   // no room, or no turn in time
	ClassWorker Class = "worker" // Usher itself could not
	ClassModel  Class = "model"  // the model server failed
	ClassGone   Class = "gone"   // the client left, or was cut
)

// Classes lists them all.
var Classes = []Class{ClassServed, ClassTicket, ClassBusy, ClassWorker, ClassModel, ClassGone}

// An Outcome is one way in which a request can end.
type Outcome struct {
	Code   string
	Class  Class
	Reason string // what happened, in a few words that follow "because"
	Advice string // what an operator does about it, in a sentence or two
}

// A Recorder gathers what the pages show. What the data path calls takes no
// allocation and no lock (a refusal: one short one), whether pages are open or
// not. Make it with NewRecorder.
type Recorder struct {
	Strip Strip

	FirstByte Histogram // from the request's head to the first byte of its answer
	TokenGap  Histogram // between two pieces of a stream
	Hold      Histogram // waited for a missing number
	Queue     Histogram // waited for a slot

	outcomes []Outcome
	refusals refusals

	mu      sync.Mutex // guards history
	history history
}

// NewRecorder makes a Recorder for requests that end in one of the outcomes.
func NewRecorder(outcomes []Outcome) *Recorder {
	r := &Recorder{outcomes: outcomes}
	r.history.init(len(outcomes))
	return r
}

// Refused notes a request that was not let through, or whose answer broke.
func (r *Recorder) Refused(x Refusal) { r.refusals.add(x) }

// A Sample is what Sample needs to know beside what the Recorder counted.
type Sample struct {
	Totals    []uint64 // requests by outcome since the start, in the Recorder's order
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
