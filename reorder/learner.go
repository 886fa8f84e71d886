package reorder

import (
	"math"
	"time"
)

const (
	// learnerWindow is how many numbers a learner looks back on: enough for the
	// quantile at a target of 0.01, and few enough to follow changes in the network.
	learnerWindow = 512
	// correction is how many numbers in a row must be out of order to lower the aim
	// from the target to 0.
	correction = 20
	// leeway is how far the aim may rise above the target, as a factor, to make up
	// for rounding down.
	leeway = 1.2
)

// A learner finds the shortest hold that keeps the share of requests admitted out
// of order at its target. A number is in order if the hold is at least its
// lateness, so this hold is the (1-target)-quantile of the lateness of all numbers,
// counting those that were not late as 0. Numbers that never come do not count:
// they cannot be out of order, and waiting for them gains nothing.
//
// The quantile is that of the last learnerWindow numbers. With k the largest
// integer not above target×(n+1), the next of n+1 exchangeable values exceeds the
// k+1-th largest of the others with a probability of at most the target, whatever
// the distribution (the argument of split conformal prediction): no model of the
// network is fitted. A few outliers change nothing, and a network that has become
// slower shows after k+1 late numbers.
//
// Numbers are not quite exchangeable: a fast one overtakes many, and those still
// missing are the latest of all. So the share aimed at is adjusted by the outcome
// (Gibbs and Candès 2021, Adaptive Conformal Inference Under Distribution Shift):
// each number that the hold did not cover lowers the aim, all others raise it, and
// in the long run the share meets the target.
type learner struct {
	target  float64
	longest time.Duration
	top     int // the last bucket that longest covers

	ring   [learnerWindow]uint16 // buckets of the last numbers
	n, at  int                   // how many there are, and where the next goes
	counts [latenessBuckets]int

	quantile int // the bucket of the hold
	above    int // values above it

	aim float64 // share of values that should be above the hold
}

func newLearner(target float64, longest time.Duration) *learner {
	l := &learner{target: target, aim: target, longest: longest}
	for l.top+1 < latenessBuckets && latenessEdges[l.top+1] <= longest {
		l.top++
	}
	return l
}

func (l *learner) arrived(series *lateness, n int64, now time.Duration) {
	late, ok := series.arrived(n, now)
	if !ok {
		return
	}
	l.correct(late, now)
	l.take(latenessBucket(late))
}

// correct adjusts the aim by whether the hold in force covered a number. A number
// later than the longest hold says nothing about the hold.
func (l *learner) correct(late, now time.Duration) {
	l.aim += l.target * l.target / correction
	if late > l.hold(now) && late <= l.longest {
		l.aim -= l.target / correction
	}
	l.aim = min(max(l.aim, 0), l.target*leeway)
}

// take adds a value, drops the oldest, and moves the quantile by the few buckets
// that this can change.
func (l *learner) take(bucket int) {
	if l.n == learnerWindow {
		old := int(l.ring[l.at])
		l.counts[old]--
		if old > l.quantile {
			l.above--
		}
	} else {
		l.n++
	}
	l.ring[l.at] = uint16(bucket)
	l.at = (l.at + 1) % learnerWindow
	l.counts[bucket]++
	if bucket > l.quantile {
		l.above++
	}
	allowed := int(l.aim * float64(l.n+1))
	for l.above > allowed {
		l.quantile++
		l.above -= l.counts[l.quantile]
	}
	for l.quantile > 0 && l.above+l.counts[l.quantile] <= allowed {
		l.above += l.counts[l.quantile]
		l.quantile--
	}
}

// hold returns the quantile. If that is longer than a hold may be, the target is out
// of reach, and hold returns the longest lateness seen that a hold can still cover:
// holding longer would gain nothing.
func (l *learner) hold(time.Duration) time.Duration {
	b := min(l.quantile, l.top)
	for b > 0 && l.counts[b] == 0 {
		b--
	}
	return latenessEdges[b]
}

// Buckets of lateness: 0 is "not late", the next ends at 50 µs, each further bound
// is 5 % above the one before, and the last bucket, from about a minute on, is open.
const (
	latenessStep    = 1.05
	latenessFirst   = 50 * time.Microsecond
	latenessBuckets = 290
)

var (
	// latenessEdges are the upper bounds of the buckets.
	latenessEdges = func() (edges [latenessBuckets]time.Duration) {
		for i := 1; i < latenessBuckets; i++ {
			edges[i] = time.Duration(float64(latenessFirst) * math.Pow(latenessStep, float64(i-1)))
		}
		return edges
	}()
	latenessScale = 1 / math.Log(latenessStep)
)

func latenessBucket(d time.Duration) int {
	switch {
	case d <= 0:
		return 0
	case d <= latenessFirst:
		return 1
	}
	b := 1 + int(math.Ceil(math.Log(float64(d)/float64(latenessFirst))*latenessScale))
	return min(b, latenessBuckets-1)
}
