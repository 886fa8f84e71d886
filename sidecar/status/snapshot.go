package status

import (
	"slices"
	"strings"
	"time"

	"github.com/usher-sidecar/usher/sidecar/account"
)

// A Snapshot is everything the pages show, at one moment. Durations are seconds.
type Snapshot struct {
	At      time.Time `json:"at"`
	Version string    `json:"version"`
	Uptime  float64   `json:"uptime"`
	Name    string    `json:"name"` // the endpoint group
	URL     string    `json:"url"`  // this worker's, as signed

	Verdict Verdict  `json:"verdict"`
	Answers []Answer `json:"answers"`

	Ready  bool   `json:"ready"`
	Checks Checks `json:"checks"`

	Load     Load     `json:"load"`
	Now      Rates    `json:"now"`
	Latency  Latency  `json:"latency"`
	Ordering Ordering `json:"ordering"`
	Strip    Picture  `json:"strip"`

	Reasons  []Reason  `json:"reasons"`  // seen since the start, the most frequent of the last minute first
	Refusals []Refusal `json:"refusals"` // the latest, newest first
	History  []Point   `json:"history"`

	Key      Key       `json:"key"`
	Report   *Report   `json:"report,omitempty"`
	TLS      *TLS      `json:"tls,omitempty"`
	Sessions *Sessions `json:"sessions,omitempty"` // nil: sessions are off
	Upstream Upstream  `json:"upstream"`
	Engine   *Engine   `json:"engine,omitempty"`
	Settings []Setting `json:"settings,omitempty"` // secrets masked
	Warnings []string  `json:"warnings,omitempty"`
}

// A Check is one condition for readiness.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// Names of the checks that the verdict treats in a way of their own: one fails during
// a drain, one until the worker is loaded.
const (
	CheckDraining = "not draining"
	CheckLoaded   = "loaded"
)

// Checks are all that were made.
type Checks []Check

// fails reports whether the named check was made and failed.
func (list Checks) fails(name string) bool {
	for _, c := range list {
		if c.Name == name {
			return !c.OK
		}
	}
	return false
}

// Load is how full the sidecar is.
type Load struct {
	InFlight     int   `json:"in_flight"`
	Slots        int   `json:"slots"` // 0: no limit
	Waiting      int   `json:"waiting"`
	Held         int   `json:"held"` // of those waiting, how many for a missing number
	Capacity     int   `json:"capacity"`
	WaitingBytes int64 `json:"waiting_bytes"`
	Connections  int   `json:"connections"`
}

// A Rate is how many requests of a class have ended recently.
type Rate struct {
	Class     account.Class `json:"class"`
	PerSecond float64       `json:"per_second"` // over the last ten seconds
	Minute    uint64        `json:"minute"`     // requests in the last minute
}

// Rates has one Rate for each class, in the order of account.Classes; or it is empty.
type Rates []Rate

// of returns the rate of a class.
func (list Rates) of(c account.Class) Rate {
	if i := index(c); i < len(list) {
		return list[i]
	}
	return Rate{Class: c}
}

// minute returns how many requests ended in the last minute.
func (list Rates) minute() (all uint64) {
	for _, r := range list {
		all += r.Minute
	}
	return all
}

// Latency is over the last minute.
type Latency struct {
	FirstByte Quantiles `json:"first_byte"`
	TokenGap  Quantiles `json:"token_gap"`
	Hold      Quantiles `json:"hold"`
	Queue     Quantiles `json:"queue"`
}

// Ordering is the reorder buffer's figures; counters are since the start.
type Ordering struct {
	Expected  int64   `json:"expected"`
	Hold      float64 `json:"hold"` // in force
	Learned   bool    `json:"learned"`
	MaxHold   float64 `json:"max_hold"`
	Target    float64 `json:"target"`    // share that may go out of order
	Reordered float64 `json:"reordered"` // share of the last five minutes that did
	Opened    uint64  `json:"opened"`    // gaps, as in reorder.Stats
	Filled    uint64  `json:"filled"`
	GivenUp   uint64  `json:"given_up"`
	Late      uint64  `json:"late"`
	Restarts  uint64  `json:"restarts"` // times that numbering restarted
}

// A Reason is why requests were not served, and what to do about it.
type Reason struct {
	Code   string        `json:"code"`
	Class  account.Class `json:"class"`
	Minute uint64        `json:"minute"` // in the last minute
	Total  uint64        `json:"total"`
	Reason string        `json:"reason"`
	Advice string        `json:"advice"`
}

// Key is the autoscaler's public key, the first one if there are several.
type Key struct {
	Algorithm   string     `json:"algorithm"` // "": none yet
	Fingerprint string     `json:"fingerprint"`
	Age         float64    `json:"age"`      // since it was last read from its source
	InForce     float64    `json:"in_force"` // since it came into force
	Source      string     `json:"source"`
	Error       string     `json:"error"` // of the last attempt to read it; "": none
	Others      []OtherKey `json:"others"`
}

// An OtherKey is another key that is accepted.
type OtherKey struct {
	Algorithm   string  `json:"algorithm"`
	Fingerprint string  `json:"fingerprint"`
	For         float64 `json:"for"` // how much longer; 0: as long as it is at the source
}

// Upstream is the model server.
type Upstream struct {
	Healthy bool   `json:"healthy"`
	Detail  string `json:"detail"`
	Address string `json:"address"`
	Probe   string `json:"probe"`
}

// A Setting is one environment variable and its value in force.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Complete adds what the Recorder knows, and the verdict, to a Snapshot whose other
// fields are filled in.
func (r *Recorder) Complete(s *Snapshot) {
	s.Strip = r.Strip.Picture(s.Ordering.Expected)
	s.Refusals = r.refusals.last()
	r.readHistory(s)
	s.judge()
}

func (r *Recorder) readHistory(s *Snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := &r.history
	s.History = h.list()
	minute, now := h.back(minutePoints), h.now
	old, l := &h.latency[minute], &h.latency[now]
	s.Latency = Latency{
		FirstByte: between(&old.firstByte, &l.firstByte), TokenGap: between(&old.tokenGap, &l.tokenGap),
		Hold: between(&old.hold, &l.hold), Queue: between(&old.queue, &l.queue),
	}
	s.Reasons = []Reason{} // not null in JSON
	for o := range account.Outcomes {
		if total := h.totals[now][o]; total > 0 && o.Class() != account.ClassServed {
			s.Reasons = append(s.Reasons, Reason{
				o.String(), o.Class(), total - h.totals[minute][o], total, notes[o].Reason, notes[o].Advice,
			})
		}
	}
	slices.SortStableFunc(s.Reasons, func(a, b Reason) int {
		switch {
		case a.Minute != b.Minute:
			return int(b.Minute) - int(a.Minute)
		case a.Total != b.Total:
			return int(b.Total) - int(a.Total)
		}
		return strings.Compare(a.Code, b.Code)
	})
	s.Now = h.rates()
}

// rates returns the recent rates. The Recorder's mutex must be held.
func (h *history) rates() Rates {
	lately, minute := h.back(ratePoints), h.back(minutePoints)
	seconds := h.seconds(lately)
	list := make(Rates, len(account.Classes))
	for i, c := range account.Classes {
		list[i].Class = c
	}
	for o := range account.Outcomes {
		rate := &list[index(o.Class())]
		rate.PerSecond += float64(h.totals[h.now][o]-h.totals[lately][o]) / seconds
		rate.Minute += h.totals[h.now][o] - h.totals[minute][o]
	}
	return list
}

// news returns s without what was sent before: the settings, the points up to a time
// and the refusals up to a number.
func (s Snapshot) news(at int64, seq uint64) Snapshot {
	s.Settings, s.Warnings = nil, nil
	for len(s.History) > 0 && s.History[0].At <= at {
		s.History = s.History[1:]
	}
	for i, refusal := range s.Refusals {
		if refusal.Seq <= seq {
			s.Refusals = s.Refusals[:i]
			break
		}
	}
	return s
}
