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
			require.NoError(t, p.Wait(t.Context(), "a"))
			return time.Since(start)
		}
		require.Zero(t, waits())
		for i, want := range []time.Duration{0, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond,
			400 * time.Millisecond, 800 * time.Millisecond, time.Second, time.Second} {
			p.Forged("a", time.Now())
			require.Equal(t, want, waits(), i)
		}
		for range 100 {
			p.Forged("a", time.Now())
		}
		time.Sleep(700 * time.Millisecond)
		require.Equal(t, 300*time.Millisecond, waits(), "time that has passed counts")
		p.Good("a")
		require.Zero(t, waits())
		p.Forged("a", time.Now())
		require.Zero(t, waits(), "a good ticket resets the count")
	})
}

func TestThePenaltyEndsWithItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Penalty
		p.Forged("a", time.Now())
		p.Forged("a", time.Now())
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		go cancel()
		require.ErrorIs(t, p.Wait(ctx, "a"), context.Canceled)
		require.Zero(t, time.Since(start))
	})
}

// Behind a trusted proxy one client's forgeries do not make another wait, and another's
// good tickets do not excuse them.
func TestThePenaltyIsTheForgers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Penalty
		for range 3 {
			p.Forged("forger", time.Now())
		}
		start := time.Now()
		require.NoError(t, p.Wait(t.Context(), "honest"))
		p.Good("honest")
		require.Zero(t, time.Since(start))
		require.NoError(t, p.Wait(t.Context(), "forger"))
		require.Equal(t, 100*time.Millisecond, time.Since(start))
	})
}
