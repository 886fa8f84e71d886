package gate

import (
	"errors"
	"sync/atomic"

	"github.com/usher-sidecar/usher/replay"
)

// StaleAlarm is how many stale numbers in a row, with no good one between them, are
// taken for a restart of the autoscaler rather than late clients.
const StaleAlarm = 32

// A staleRun notices that every number is below the replay window, which is
// what an autoscaler that starts its numbers again looks like.
type staleRun struct{ n atomic.Uint32 }

// note takes the result for a number: nil or the ledger's error. It reports true
// once for each such run.
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
