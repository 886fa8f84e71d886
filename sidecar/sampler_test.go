package sidecar

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/usher-sidecar/usher/sidecar/account"
)

// A flood of one outcome gets its burst of lines, then its rate, and a line that counts
// the rest. Other outcomes are not affected.
func TestSampler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, seen := observer.New(zapcore.DebugLevel)
		s := newSampler(zap.New(core))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); s.run(ctx) }()
		synctest.Wait()

		written := func(outcome account.Outcome, n int) (lines int) {
			for range n {
				if s.allow(outcome, time.Now()) {
					lines++
				}
			}
			return lines
		}
		require.Equal(t, refusalLinesBurst, written(account.RouteUnknown, 20_000))
		require.Equal(t, 1, written(account.BadSignature, 1), "another outcome has an allowance of its own")
		for range 8 {
			time.Sleep(time.Second)
			require.Equal(t, refusalLinesPerSecond, written(account.RouteUnknown, 1000))
		}
		require.Zero(t, seen.Len())
		time.Sleep(2 * time.Second) // 10 s since the start
		synctest.Wait()
		require.Equal(t, []map[string]any{{"outcome": "route_unknown", "left_out": uint64(19_000 + 8*950)}}, contexts(seen))

		time.Sleep(leftOutInterval)
		require.Empty(t, contexts(seen), "nothing was left out since")
		time.Sleep(time.Minute)
		require.Equal(t, refusalLinesBurst, written(account.RouteUnknown, refusalLinesBurst+7), "the burst is whole again, and not larger")
		require.EqualValues(t, 19_000+8*950+7, s.total(account.RouteUnknown))
		require.Zero(t, s.total(account.BadSignature))
		stop()
		<-ended
		require.Equal(t, []map[string]any{{"outcome": "route_unknown", "left_out": uint64(7)}}, contexts(seen), "the last ones at the end")
	})
}

func contexts(seen *observer.ObservedLogs) (list []map[string]any) {
	for _, e := range seen.TakeAll() {
		list = append(list, e.ContextMap())
	}
	return list
}

// At an ordinary rate every refusal is logged, however long it lasts.
func TestSamplerOrdinary(t *testing.T) {
	s := newSampler(zap.NewNop())
	now := time.Now()
	for i := range 100_000 {
		require.True(t, s.allow(account.QueueFull, now.Add(time.Duration(i)*time.Second/refusalLinesPerSecond)))
	}
}

func TestShortened(t *testing.T) {
	require.Equal(t, "my-llama", shortened("my-llama"))
	require.Equal(t, strings.Repeat("x", 64)+"…", shortened(strings.Repeat("x", 1<<20)))
	require.Equal(t, strings.Repeat("é", 31)+"…", shortened("x" + strings.Repeat("é", 40))[1:], "not in the middle of a character")
}
