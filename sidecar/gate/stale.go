package gate

import (
	"errors"
	"sync/atomic"

	"github.com/usher-sidecar/usher/replay"
)

// StaleAlarm is how many stale numbers in a row, without a good one, are taken for a
// restart of the autoscaler's numbering rather than for late clients.
const StaleAlarm = 32

// A staleRun detects that all numbers are below the replay window, which happens when
// the autoscaler restarts its numbering.
type staleRun struct{ n atomic.Uint32 }

// note takes the ledger's result for a number. It returns true once for each such run.
func (r *staleRun) note(err error) bool {
	switch {
	case err == nil:
		if r.n.Load() != 0 {
			r.n.Store(0)
		}
	case errors.Is(err, replay.ErrStale):
		return r.n.Add(1) == StaleAlarm
	}
	return false
}
