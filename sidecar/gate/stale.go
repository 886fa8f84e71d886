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
type staleRun struct {
	n    atomic.Uint32
	last atomic.Int64 // the last stale number, which a client may try again and again
	told atomic.Bool  // of this run
}

// note takes the ledger's result for a number. It returns true when StaleAlarm numbers
// were stale, and then again for every further StaleAlarm, until tell.
func (r *staleRun) note(err error, number int64) bool {
	switch {
	case err == nil:
		if r.n.Load() != 0 {
			r.n.Store(0)
			r.told.Store(false)
		}
	case errors.Is(err, replay.ErrStale):
		if r.last.Swap(number) == number && r.n.Load() > 0 {
			return false
		}
		return r.n.Add(1)%StaleAlarm == 0 && !r.told.Load()
	}
	return false
}

// tell reports whether nobody has been told of the run yet.
func (r *staleRun) tell() bool { return !r.told.Swap(true) }
