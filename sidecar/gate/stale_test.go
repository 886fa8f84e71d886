package gate

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/replay"
)

func TestStaleRun(t *testing.T) {
	var r staleRun
	stale := func(from, count int64) (alarms int) {
		for n := range count {
			if r.note(replay.ErrStale, from+n) {
				alarms++
			}
		}
		return alarms
	}
	require.Zero(t, stale(1, StaleAlarm-1))
	require.False(t, r.note(replay.ErrReplayed, 7), "it says nothing about the others")
	require.Equal(t, 1, stale(100, 1))
	require.Equal(t, 1, stale(200, StaleAlarm), "again, for the last may have been forged")
	require.True(t, r.tell())
	require.False(t, r.tell())
	require.Zero(t, stale(300, 3*StaleAlarm), "once a run")
	require.False(t, r.note(nil, 1000))
	for range 10 * StaleAlarm {
		require.False(t, r.note(replay.ErrStale, 5), "one client that tries one ticket again and again")
	}
	require.Equal(t, 1, stale(400, StaleAlarm))
	require.True(t, r.tell())
	require.False(t, r.note(errors.New("other"), 0))
}
