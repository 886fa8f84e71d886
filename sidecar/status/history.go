package status

import (
	"slices"
	"time"

	"github.com/usher-sidecar/usher/sidecar/account"
)

// A history is the points of the charts, and the counts of the last minute, both as
// rings.
type history struct {
	points [historyPoints]Point
	size   int // number of points
	next   int // where the next point goes

	at      [minutePoints + 1]time.Time // when the counts were taken
	totals  [minutePoints + 1]totals
	latency [minutePoints + 1]latencies
	now     int       // index of the newest counts
	filled  int       // how many older ones there are
	origin  time.Time // of the first point
}

// totals counts requests by outcome, since the start.
type totals [account.Outcomes]uint64

// latencies is the content of the histograms at one moment.
type latencies struct{ firstByte, tokenGap, hold, queue counts }

func (l *latencies) read(r *Recorder) {
	r.firstByte.read(&l.firstByte)
	r.tokenGap.read(&l.tokenGap)
	r.hold.read(&l.hold)
	r.queue.read(&l.queue)
}

// A Point is one step of the charts.
type Point struct {
	At        int64     `json:"at"`    // its end, Unix seconds
	Rates     []float64 `json:"rates"` // requests a second by class, in the order of Classes
	FirstByte Quantiles `json:"first_byte"`
	TokenGap  Quantiles `json:"token_gap"`
	Wait      Quantiles `json:"wait"` // for missing numbers or for a slot, whichever was longer
	InFlight  int       `json:"in_flight"`
	Waiting   int       `json:"waiting"`
	Hold      float64   `json:"hold"`      // seconds
	Reordered float64   `json:"reordered"` // share
}

func (h *history) add(now time.Time, s Sample, r *Recorder) {
	before := h.now
	h.now = (h.now + 1) % len(h.totals)
	h.filled = min(h.filled+1, minutePoints)
	h.at[h.now] = now
	for o := range r.ended {
		h.totals[h.now][o] = r.ended[o].Load()
	}
	l, old := &h.latency[h.now], &h.latency[before]
	l.read(r)
	if h.origin.IsZero() {
		h.origin = now
	}
	p := Point{
		// By the monotonic clock, so that points stay in order if the wall clock is set.
		At: h.origin.Unix() + int64(now.Sub(h.origin).Round(time.Second)/time.Second), InFlight: s.InFlight, Waiting: s.Waiting, Hold: s.Hold, Reordered: s.Reordered,
		Rates:     make([]float64, len(account.Classes)),
		FirstByte: between(&old.firstByte, &l.firstByte),
		TokenGap:  between(&old.tokenGap, &l.tokenGap),
		Wait:      longer(between(&old.hold, &l.hold), between(&old.queue, &l.queue)),
	}
	for o := range account.Outcomes {
		p.Rates[index(o.Class())] += float64(h.totals[h.now][o]-h.totals[before][o]) / h.seconds(before)
	}
	h.points[h.next] = p
	h.next = (h.next + 1) % historyPoints
	h.size = min(h.size+1, historyPoints)
}

// back returns the index of the counts some steps ago, or of the oldest.
func (h *history) back(steps int) int {
	return (h.now - min(steps, h.filled) + len(h.totals)) % len(h.totals)
}

// seconds returns the time between some counts and the newest: samples may be late.
// Before the first counts it is one step.
func (h *history) seconds(from int) float64 {
	if h.at[from].IsZero() || !h.at[h.now].After(h.at[from]) {
		return HistoryStep.Seconds()
	}
	return h.at[h.now].Sub(h.at[from]).Seconds()
}

// list returns the points, oldest first.
func (h *history) list() []Point {
	list := make([]Point, h.size)
	for i := range list {
		list[i] = h.points[(h.next-h.size+i+historyPoints)%historyPoints]
	}
	return list
}

func longer(a, b Quantiles) Quantiles {
	return Quantiles{Count: max(a.Count, b.Count), P50: max(a.P50, b.P50), P99: max(a.P99, b.P99)}
}

// index returns the index of a class in account.Classes.
func index(c account.Class) int { return slices.Index(account.Classes, c) }
