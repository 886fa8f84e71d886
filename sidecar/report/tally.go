// Package report reports to the autoscaler: the workload accepted, in work and served,
// and how each request ended. The data path counts without a lock; one goroutine sends
// the reports.
package report

import (
	"math"
	"sync/atomic"
	"time"
)

// An End is how a verified request ended, as far as reports distinguish it.
type End uint8

// The ends.
const (
	Served     End = iota // answered completely with a 2xx
	Answered              // answered completely with another status below 500
	Cancelled             // the client left
	Failed                // the model server failed, its own 5xx included
	TurnedAway            // for lack of room or time, or because its cost did not cover its work
	Refused               // for a fault of the request that was found after its ticket was verified
)

// Times are when a request reached its stages; zero for those it did not reach.
type Times struct {
	Queued    time.Time // it began to wait for its turn
	Started   time.Time // sending to the model server began
	Completed time.Time // it ended after it was started
}

// Workload is kept in integer millionths, so that adding and subtracting it leaves no
// rounding error behind.
const (
	unit = 1e6
	// maxWorkload bounds the workload of one request. While more than enough is
	// unacknowledged or in work, no more is counted. Both keep sums from overflowing;
	// realistic costs reach neither.
	maxWorkload = 1e12
	enough      = math.MaxInt64 / 4
)

// A Tally counts verified requests from their verification to their end. Make it
// with NewTally. Begin and End are safe for concurrent use and never block; the
// reading methods are for the reporter only.
type Tally struct {
	// Sums since the start. They may wrap around; only differences are used.
	received, cancelled, rejected, refused, served atomic.Int64

	load     atomic.Int64  // in work now
	working  atomic.Int64  // requests, in work now
	verified atomic.Int64  // requests, since the start
	speed    atomic.Uint64 // workload/s of the last request that was served, a float64's bits

	reported atomic.Int64 // received, as of the last acknowledged report

	roll // of the requests that have an index
}

// A Work is one verified request while it is in work. The zero Work stands for a request
// that was not verified.
type Work struct {
	units int64
	place int // in roll.named; valid with entry
	entry *entry
	begun bool
}

// NewTally makes a tally. With a capacity above 0 it keeps the index of each
// request that has one, of up to capacity requests at once, and how those ended.
func NewTally(capacity int) *Tally {
	t := &Tally{}
	if capacity > 0 {
		t.open(capacity)
	}
	return t
}

// Begin counts a request whose ticket was verified. The workload must be finite and not
// negative. index is the ticket's request_idx, an integer literal, or "".
func (t *Tally) Begin(workload float64, index string) Work {
	w := Work{units: int64(math.Round(min(max(workload, 0), maxWorkload) * unit)), begun: true}
	if t.load.Load() > enough || t.received.Load()-t.reported.Load() > enough {
		w.units = 0
	}
	t.received.Add(w.units)
	t.load.Add(w.units)
	t.working.Add(1)
	t.verified.Add(1)
	if index != "" && t.named != nil {
		w.entry, w.place = t.enter(index)
	}
	return w
}

// End counts the end of a request, once for each Begin. Further calls, and calls with a
// zero Work, do nothing.
func (t *Tally) End(w *Work, end End, times Times) {
	if !w.begun {
		return
	}
	w.begun = false
	switch end {
	case Served:
		t.served.Add(w.units)
		if took := times.Completed.Sub(times.Started).Seconds(); took > 0 && !times.Started.IsZero() {
			t.speed.Store(math.Float64bits(float64(w.units) / unit / took))
		}
	case TurnedAway:
		t.rejected.Add(w.units)
	case Cancelled:
		t.cancelled.Add(w.units)
	case Refused:
		t.refused.Add(w.units)
	case Answered, Failed:
	}
	t.load.Add(-w.units)
	t.working.Add(-1)
	if e := w.entry; e != nil {
		w.entry = nil
		e.end, e.times = end, times
		t.leave(e, w.place)
	}
}

// counts is a tally at one moment. Each figure is exact, but a request that begins or
// ends meanwhile may be in some of them and not yet in others.
type counts struct {
	received, cancelled, rejected, refused, served int64

	load, working, verified int64

	speed float64 // 0: no request was served yet
}

func (t *Tally) counts() counts {
	return counts{
		received: t.received.Load(), cancelled: t.cancelled.Load(),
		rejected: t.rejected.Load(), refused: t.refused.Load(), served: t.served.Load(),
		load: t.load.Load(), working: t.working.Load(), verified: t.verified.Load(),
		speed: math.Float64frombits(t.speed.Load()),
	}
}

// taken is the workload that was taken in, as a generation counts it. A 2026 report
// names rejected workload separately, so it is not counted here as well.
func (c counts) taken(g Generation) int64 {
	if g == Generation2024 {
		return c.received - c.cancelled
	}
	return c.received - c.cancelled - c.rejected - c.refused
}

// A delta is the change from the last acknowledged report to some counts, in units.
// Unless it is acknowledged together with those counts, the next delta includes it.
type delta struct{ taken, rejected, served int64 }

// A baseline is what the autoscaler has acknowledged. A delta is the tally minus the
// baseline, and an acknowledgement advances the baseline. So nothing is taken out of
// the tally, and a failed report needs no undo.
type baseline struct {
	tally      *Tally
	generation Generation

	counts
	told int64 // sum of what was reported as taken in
}

// since returns the change since the baseline. Workload that was reported as taken in
// and was cancelled later is made up for by reporting less, never by a negative
// figure.
func (b *baseline) since(c counts) delta {
	return delta{
		taken:    max(0, c.taken(b.generation)-b.told),
		rejected: c.rejected - b.rejected,
		served:   c.served - b.served,
	}
}

// acknowledge advances the baseline to c, which was reported as d.
func (b *baseline) acknowledge(c counts, d delta) {
	b.counts = c
	b.told += d.taken
	b.tally.reported.Store(c.received)
}

// workload turns units into workload.
func workload(units int64) float64 { return float64(units) / unit }
