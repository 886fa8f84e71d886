package reorder

import (
	"math"
	"time"
)

const (
	// learnerWindow is how many numbers a learner looks back on: enough for the
	// quantile at a target of a hundredth, and few enough to follow a change of
	// the network.
	learnerWindow = 512
	// correction is how many numbers too many out of order, in a row, take the
	// aim from the target to nothing.
	correction = 20
	// leeway is how far above the target the aim may go, so that what is lost by
	// rounding down comes back.
	leeway = 1.2
)

// A learner finds the shortest hold that keeps the share of requests admitted
// out of order at its target. A number is in order if the hold is at least its
// lateness, so that is the (1-target)-quantile of the lateness of all numbers,
// those that were not late included as 0. Numbers that never come have none:
// they cannot be out of order, and waiting for them gains nothing.
//
// The quantile is that of the last learnerWindow numbers. With k the largest
// integer not above target×(n+1), the next of n+1 exchangeable values exceeds
// the k+1-th largest of the others with a probability of at most the target,
// whatever the distribution (the argument of split conformal prediction): no
// model of the network is fitted. A few outliers change nothing, and a network
// that has become slower shows after k+1 late numbers.
//
// Numbers are not quite exchangeable: one that is fast overtakes many, and those
// not here yet are the latest. So the share aimed at is corrected by what became
// of it (Gibbs and Candès 2021, Adaptive Conformal Inference Under Distribution
// Shift): a number that the hold did not cover takes the aim down, all others
// bring it back, and in the long run the share is the target.
type learner struct {
	target  float64
	longest time.Duration
	top     int // the last bucket that longest covers
	numbers lateness

	ring   [learnerWindow]uint16 // buckets of the last numbers
	n, at  int
	counts [latenessBuckets]int

	quantile int // the bucket of the hold
	above    int // values above it

	aim float64 // the share of values to be above the hold
}

func newLearner(target float64, longest time.Duration) *learner {
	l := &learner{target: target, aim: target, longest: longest}
	for l.top+1 < latenessBuckets && latenessEdges[l.top+1] <= longest {
		l.top++
	}
	return l
}

func (l *learner) arrived(n int64, now time.Duration) {
	late, ok := l.numbers.arrived(n, now)
	if !ok {
		return
	}
	l.correct(late, now)
	l.take(latenessBucket(late))
}

// correct moves the aim by what the hold in force made of a number. One that no
// hold may cover says nothing about the hold.
func (l *learner) correct(late, now time.Duration) {
	l.aim += l.target * l.target / correction
	if late > l.hold(now) && late <= l.longest {
		l.aim -= l.target / correction
	}
	l.aim = min(max(l.aim, 0), l.target*leeway)
}

// restart keeps what was learned: the network did not change with the numbers.
func (l *learner) restart(time.Duration) { l.numbers.restart() }

// take puts a value in, lets the oldest go, and moves the quantile by the few
// buckets that this can change.
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

// hold is the quantile. Where that is longer than a hold may be, the target is
// out of reach, and it is the longest lateness that a hold can still cover:
// longer would cost and bring nothing.
func (l *learner) hold(time.Duration) time.Duration {
	b := min(l.quantile, l.top)
	for b > 0 && l.counts[b] == 0 {
		b--
	}
	return latenessEdges[b]
}

// Buckets of lateness: 0 is "not late", the next ends at 50 µs, each after that
// is 5 % wider than the one before, and the last, which begins at a minute,
// holds all that is above.
const (
	latenessStep    = 1.05
	latenessFirst   = 50 * time.Microsecond
	latenessBuckets = 290
)

var (
	// latenessEdges are the highest values of the buckets.
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
