package sidecar

import (
	"errors"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/replay"
)

// staleAlarm is how many stale numbers in a row, without a good one between
// them, are said to be a restart of the autoscaler's and not late clients.
const staleAlarm = 32

// A staleRun notices that every number is below the replay window, which is
// what an autoscaler that starts its numbers again looks like: one plain line in
// the log for each such run.
type staleRun struct{ n atomic.Uint32 }

// note takes in what became of a number: nil or the ledger's error.
func (r *staleRun) note(log *zap.Logger, err error) {
	switch {
	case err == nil:
		if r.n.Load() != 0 {
			r.n.Store(0)
		}
	case errors.Is(err, replay.ErrStale) && r.n.Add(1) == staleAlarm:
		log.Warn("every number is below the replay window: it seems that the autoscaler started its numbers again. "+
			"Restart this worker with a new state file, or see USHER_REQNUM_RESET_AFTER", zap.Int("in_a_row", staleAlarm))
	}
}
