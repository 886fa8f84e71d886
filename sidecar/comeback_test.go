package sidecar

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/usher-sidecar/usher/reorder"
)

func TestEstimate(t *testing.T) {
	busy := func(waiting int, freed uint64) reorder.Stats {
		return reorder.Stats{Slots: 4, InFlight: 4, Waiting: waiting, Admitted: 4 + freed}
	}
	for name, tt := range map[string]struct {
		stats  reorder.Stats
		before uint64
		span   time.Duration
		want   int
	}{
		"four a second, forty wait":      {busy(40, 140), 100, 10 * time.Second, 10},
		"less than a whole second":       {busy(1, 140), 100, 10 * time.Second, 1},
		"a part of a second is one":      {busy(5, 140), 100, 10 * time.Second, 2},
		"nothing became free":            {busy(1, 100), 100, 10 * time.Second, 30},
		"longer than anybody should":     {busy(500, 101), 100, 10 * time.Second, 30},
		"nobody waits":                   {busy(0, 100), 100, 10 * time.Second, 1},
		"a slot is free":                 {reorder.Stats{Slots: 4, InFlight: 3, Waiting: 9, Admitted: 3}, 0, 10 * time.Second, 1},
		"slots have no limit":            {reorder.Stats{InFlight: 3, Waiting: 9, Admitted: 3}, 0, 10 * time.Second, 1},
		"no time has passed since start": {busy(9, 1), 0, 0, 1},
	} {
		require.Equal(t, tt.want, estimate(tt.stats, tt.before, tt.span), name)
	}
}

// Retry-After is within its bounds, no shorter than the estimate as far as the bounds
// allow, and not the same for everyone.
func TestSpread(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wait := rapid.IntRange(1, maxRetryAfter).Draw(t, "wait")
		low, high := spread(wait, func(int) int { return 0 }), spread(wait, func(n int) int { return n - 1 })
		require.LessOrEqual(t, 1, low)
		require.LessOrEqual(t, low, wait)
		require.Less(t, low, high)
		require.LessOrEqual(t, wait, high)
		require.LessOrEqual(t, high, maxRetryAfter)
		if wait <= 20 {
			require.Equal(t, wait, low)
		}
	})
}

// A buffer whose four slots are taken for two seconds each, with forty waiting:
// twenty seconds, and less as the queue shrinks; when nothing moves any more, as
// long as there is.
func TestComebackFollowsTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := reorder.New(reorder.Config{Slots: 4, Capacity: 100, Bytes: 1 << 20, Timeout: time.Hour})
		require.NoError(t, err)
		c := newComeback(b.Stats, time.Now())
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { c.run(ctx); close(ended) }()

		release := make(chan struct{})
		request := func(work func()) {
			slot, err := b.Admit(context.Background(), reorder.Request{Unordered: true})
			require.NoError(t, err)
			work()
			slot.Release()
		}
		require.Equal(t, 1, c.first(), "nobody waits")
		for range 64 {
			go request(func() { time.Sleep(2 * time.Second) })
		}
		time.Sleep(10*time.Second + 500*time.Millisecond) // 20 done, 40 wait
		require.Equal(t, 40, b.Stats().Waiting)
		require.InDelta(t, 20, c.first(), 2)
		time.Sleep(10 * time.Second) // 40 done, 20 wait
		require.Equal(t, 20, b.Stats().Waiting)
		require.InDelta(t, 10, c.first(), 1)
		time.Sleep(60 * time.Second) // all done
		for range 5 {
			go request(func() { <-release })
		}
		time.Sleep(11 * time.Second) // four run and do not end
		require.Equal(t, 1, b.Stats().Waiting)
		require.Equal(t, maxRetryAfter, c.first())
		for range 20 {
			told := c.seconds(time.Now())
			require.GreaterOrEqual(t, told, 22)
			require.LessOrEqual(t, told, maxRetryAfter)
		}
		stop()
		<-ended
		close(release)
	})
}

// first returns the present estimate, before jitter.
func (c *comeback) first() int {
	c.seconds(time.Now())
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wait
}
