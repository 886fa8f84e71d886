package burst

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWatch(t *testing.T) {
	const mb = 1 << 20
	var w watch
	require.False(t, w.calm(usage{20 * mb, 30 * mb}), "what the start allocated is a burst, too")
	require.True(t, w.calm(usage{20 * mb, 30*mb + calm}))
	require.True(t, w.worth())
	w.released(usage{8 * mb, 31 * mb}, time.Now())
	require.False(t, w.worth(), "nothing came since")

	require.False(t, w.calm(usage{60 * mb, 90 * mb}), "a burst begins")
	require.False(t, w.calm(usage{90 * mb, 150 * mb}), "it goes on")
	require.True(t, w.calm(usage{90 * mb, 150 * mb}), "it is over")
	require.True(t, w.worth())
	w.released(usage{40 * mb, 151 * mb}, time.Now())

	require.True(t, w.calm(usage{49 * mb, 151 * mb}))
	require.False(t, w.worth(), "less than a quarter of 40 MB")
	require.True(t, w.calm(usage{10 * mb, 151 * mb}))
	require.False(t, w.worth(), "the runtime has released it")
	require.True(t, w.calm(usage{14*mb - 1, 151 * mb}))
	require.False(t, w.worth(), "less than 4 MB")
	require.True(t, w.calm(usage{14 * mb, 151 * mb}))
	require.True(t, w.worth(), "the least counts, not what stayed at the last release")
}

// What a burst leaves behind goes back to the system within seconds, what sync.Pools hold
// included, once nothing flows.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	var flows atomic.Bool
	var asked atomic.Int64
	flows.Store(true)
	running.Go(func() {
		Run(ctx, func(time.Duration) bool { asked.Add(1); return flows.Load() })
	})
	defer running.Wait()
	defer cancel()
	m := newMeter()
	before := m.read().resident
	var pool sync.Pool
	var burst [128]*[1 << 20]byte
	for i := range burst {
		burst[i] = new([1 << 20]byte)
	}
	for i, b := range burst {
		pool.Put(b)
		burst[i] = nil
	}
	const patience = 30 * time.Second
	require.Eventually(t, func() bool { return asked.Load() > 3 }, patience, time.Millisecond)
	require.Greater(t, m.read().resident, before+100<<20)
	flows.Store(false)
	require.Eventually(t, func() bool { return m.read().resident < before+16<<20 }, patience, time.Millisecond)
}

func TestRunEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	Run(ctx, nil)
}
