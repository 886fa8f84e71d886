package reorder

import "time"

// An estimator says how long a request ahead of a gap is held. The sequencer
// tells it of every number as it comes, in the order of their coming: from that
// alone follows which numbers were missing when a higher one came, how much
// later each of them came, and which never did. It is called under the Buffer's
// lock, with moments that never run backwards.
type estimator interface {
	// arrived is told of every signed number, those of requests that are
	// refused or come a second time included.
	arrived(number int64, now time.Duration)
	// restart is told that the numbers start again.
	restart(now time.Duration)
	// hold returns the hold of a request that comes now; 0 or less: none.
	hold(now time.Duration) time.Duration
}

func newEstimator(cfg Config) estimator {
	if cfg.Auto {
		return newLearner(cfg.Target, cfg.MaxHold)
	}
	return fixedHold(cfg.Hold)
}

// A fixedHold is always the same.
type fixedHold time.Duration

func (fixedHold) arrived(int64, time.Duration)           {}
func (fixedHold) restart(time.Duration)                  {}
func (h fixedHold) hold(now time.Duration) time.Duration { return time.Duration(h) }
