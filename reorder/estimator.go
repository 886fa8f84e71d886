package reorder

import "time"

// An estimator decides how long a request ahead of a gap is held. The sequencer
// reports every number to it in order of arrival. That alone shows which numbers
// were missing when a higher one came, how much later each of them came, and which
// never did. It is called under the Buffer's lock, with times that never run
// backwards.
type estimator interface {
	// arrived is called for every signed number, including those of requests that
	// are refused or repeated. l is what is known of its series.
	arrived(l *lateness, number int64, now time.Duration)
	// hold returns the hold for a request that arrives now; 0 or less: none.
	hold(now time.Duration) time.Duration
}

func newEstimator(cfg Config) estimator {
	if cfg.Auto {
		return newLearner(cfg.Target, cfg.MaxHold)
	}
	return fixedHold(cfg.Hold)
}

// A fixedHold is an estimator that always returns itself.
type fixedHold time.Duration

func (fixedHold) arrived(*lateness, int64, time.Duration) {}
func (h fixedHold) hold(now time.Duration) time.Duration  { return time.Duration(h) }
