package reorder

import (
	"math"
	"time"
)

// The estimators that were compared; the learner is the one in use. All are told
// lateness in the same way and differ in what they derive from it.

// A history is the quantile of everything since the start.
type history struct {
	learner
	total int
}

func (h *history) arrived(l *lateness, n int64, now time.Duration) {
	if late, ok := l.arrived(n, now); ok {
		h.total++
		h.counts[latenessBucket(late)]++
	}
}

func (h *history) hold(time.Duration) time.Duration {
	allowed, b := int(h.target*float64(h.total+1)), latenessBuckets-1
	for above := 0; b > 0; b-- {
		if above += h.counts[b]; above > allowed && latenessEdges[b] <= h.longest {
			break
		}
	}
	return latenessEdges[b]
}

// A playout is the delay of an adaptive playout buffer: mean plus four mean
// deviations (Moon, Kurose, Towsley 1998, algorithm 1; RFC 6298 uses the same).
type playout struct {
	mean, deviation float64
	longest         time.Duration
}

func (p *playout) arrived(l *lateness, n int64, now time.Duration) {
	if late, ok := l.arrived(n, now); ok {
		const gain = 1.0 / 64
		d := float64(late)
		p.deviation += gain * (math.Abs(d-p.mean) - p.deviation)
		p.mean += gain * (d - p.mean)
	}
}

func (p *playout) hold(time.Duration) time.Duration {
	return min(time.Duration(p.mean+4*p.deviation), p.longest)
}

// A stepper moves the hold up at every number that it would not have covered and
// down at every other, in the ratio that balances at the target (Robbins and
// Monro 1951): RACK's reordering window (RFC 8985, section 6.2) with an aim.
type stepper struct {
	log     float64 // of the hold in nanoseconds
	target  float64
	longest time.Duration
}

func (s *stepper) arrived(l *lateness, n int64, now time.Duration) {
	if late, ok := l.arrived(n, now); ok {
		const step = 0.5
		if late > time.Duration(math.Exp(s.log)) {
			s.log += step
		} else {
			s.log -= step * s.target / (1 - s.target)
		}
		s.log = min(max(s.log, math.Log(float64(latenessFirst))), math.Log(float64(s.longest)))
	}
}

func (s *stepper) hold(time.Duration) time.Duration { return time.Duration(math.Exp(s.log)) }

// A strategy is one column of the comparison.
type strategy struct {
	name string
	make func(Config) estimator
}

func fixedAt(d time.Duration) func(Config) estimator {
	return func(Config) estimator { return fixedHold(d) }
}

var strategies = []strategy{
	{"none", fixedAt(0)},
	{"20 ms", fixedAt(20 * ms)},
	{"100 ms", fixedAt(100 * ms)},
	{"500 ms", fixedAt(500 * ms)},
	{"learned", newEstimator},
}

var alternatives = []strategy{
	{"learned", newEstimator},
	{"whole history", func(c Config) estimator { return &history{learner: *newLearner(c.Target, c.MaxHold)} }},
	{"playout", func(c Config) estimator { return &playout{longest: c.MaxHold} }},
	{"stepper", func(c Config) estimator {
		return &stepper{log: math.Log(float64(20 * ms)), target: c.Target, longest: c.MaxHold}
	}},
}
