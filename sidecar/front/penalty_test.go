package front

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestForgeriesInARowMakeTheConnectionWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Penalty
		waits := func() time.Duration {
			start := time.Now()
			require.NoError(t, p.Wait(t.Context()))
			return time.Since(start)
		}
		require.Zero(t, waits())
		for i, want := range []time.Duration{0, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond,
			400 * time.Millisecond, 800 * time.Millisecond, time.Second, time.Second} {
			p.Forged(time.Now())
			require.Equal(t, want, waits(), i)
		}
		for range 100 {
			p.Forged(time.Now())
		}
		time.Sleep(700 * time.Millisecond)
		require.Equal(t, 300*time.Millisecond, waits(), "time that has passed counts")
		p.Good()
		require.Zero(t, waits())
		p.Forged(time.Now())
		require.Zero(t, waits(), "a good ticket resets the count")
	})
}

func TestThePenaltyEndsWithItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Penalty
		p.Forged(time.Now())
		p.Forged(time.Now())
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		go cancel()
		require.ErrorIs(t, p.Wait(ctx), context.Canceled)
		require.Zero(t, time.Since(start))
	})
}
