package burst

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestWatch(t *testing.T) {
	const mb = 1 << 20
	var w watch
	start := time.Now()
	for _, look := range []struct {
		name     string
		at       time.Duration
		resident uint64
		allocs   uint64
		flows    bool
		want     step
		after    uint64 // resident after the release
	}{
		{"what the start allocated is a burst, too", 0, 20 * mb, 30 * mb, false, lookAgain, 0},
		{"and it is over", 1 * time.Second, 20 * mb, 30*mb + trickle, false, releaseNow, 8 * mb},
		{"nothing came since", 2 * time.Second, 8 * mb, 31 * mb, false, lookAgain, 0},
		{"nor now", 3 * time.Second, 8 * mb, 31 * mb, false, nothingToGain, 0},
		{"a burst begins", 4 * time.Second, 60 * mb, 90 * mb, false, lookAgain, 0},
		{"it goes on", 5 * time.Second, 90 * mb, 150 * mb, false, lookAgain, 0},
		{"it is over, soon after the last release", 6 * time.Second, 90 * mb, 150 * mb, false, lookAgain, 0},
		{"still too soon", 11*time.Second - 1, 90 * mb, 150 * mb, false, lookAgain, 0},
		{"ten seconds after it", 11 * time.Second, 90 * mb, 150 * mb, false, releaseNow, 40 * mb},
		{"less than a quarter of what stayed", 30 * time.Second, 49 * mb, 150 * mb, false, nothingToGain, 0},
		{"the runtime has released it", 31 * time.Second, 10 * mb, 150 * mb, false, nothingToGain, 0},
		{"less than 4 MB above the least", 32 * time.Second, 14*mb - 1, 150 * mb, false, nothingToGain, 0},
		{"something flows", 40 * time.Second, 14 * mb, 150 * mb, true, lookAgain, 0},
		{"a burst between", 90 * time.Second, 20 * mb, 160 * mb, true, lookAgain, 0},
		{"from here on it waits", 91 * time.Second, 20 * mb, 160 * mb, true, lookAgain, 0},
		{"for less than a minute", 151*time.Second - 1, 20 * mb, 160 * mb, true, lookAgain, 0},
		{"but not for longer", 151 * time.Second, 20 * mb, 160 * mb, true, releaseNow, 12 * mb},
		{"a burst without an end in sight", 170 * time.Second, 50 * mb, 200 * mb, true, lookAgain, 0},
		{"its end", 171 * time.Second, 50 * mb, 200 * mb, true, lookAgain, 0},
		{"and a moment in which nothing flows", 172 * time.Second, 50 * mb, 200 * mb, false, releaseNow, 12 * mb},
	} {
		now := start.Add(look.at)
		require.Equal(t, look.want, w.look(usage{look.resident, look.allocs}, now, look.flows), look.name)
		if look.want == releaseNow {
			w.released(usage{look.after, look.allocs}, now)
		}
	}
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
	const soon = 30 * time.Second
	require.Eventually(t, func() bool { return asked.Load() > 3 }, soon, time.Millisecond)
	require.Greater(t, m.read().resident, before+100<<20)
	flows.Store(false)
	require.Eventually(t, func() bool { return m.read().resident < before+16<<20 }, soon, time.Millisecond)
}

func TestRunEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	Run(ctx, func(time.Duration) bool { return false })
}

// BenchmarkRelease measures a release of 200 MB, and how late it makes others: the longest
// time between two looks at the clock that are to be 200 µs apart.
//
//	go test -run '^$' -bench Release -benchtime 20x -cpu 1,2 ./sidecar/burst
func BenchmarkRelease(b *testing.B) {
	worst := time.Duration(0)
	for b.Loop() {
		b.StopTimer()
		var burst [200]*[1 << 20]byte
		for i := range burst {
			burst[i] = new([1 << 20]byte)
			for at := 0; at < len(burst[i]); at += 4 << 10 {
				burst[i][at] = 1
			}
		}
		burst = [200]*[1 << 20]byte{}
		over, longest := make(chan struct{}), make(chan time.Duration)
		go func() {
			most, last := time.Duration(0), time.Now()
			for wait := true; wait; {
				select {
				case <-over:
					wait = false
				case <-time.After(200 * time.Microsecond):
				}
				now := time.Now()
				most, last = max(most, now.Sub(last)), now
			}
			longest <- most
		}()
		b.StartTimer()
		release()
		b.StopTimer()
		close(over)
		worst = max(worst, <-longest)
		b.StartTimer()
	}
	b.ReportMetric(float64(worst)/1e6, "ms-longest")
}
