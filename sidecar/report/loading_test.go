package report

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/sidecar/benchmark"
)

// A plant is what a Loading observes.
type plant struct {
	healthy, keyed, draining atomic.Bool
	loaded                   atomic.Int64
	*Loading
}

func load(t *testing.T, b *benchmark.Benchmark) *plant {
	p := &plant{}
	p.Loading = NewLoading(LoadingOptions{
		Started: time.Now(), Healthy: p.healthy.Load, Keyed: p.keyed.Load, Draining: p.draining.Load,
		Benchmark: b, MaxPerf: 7, Loaded: func(time.Duration) { p.loaded.Add(1) },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx, ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return p
}

func TestLoading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := load(t, nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, State{MaxPerf: 7}, p.State(time.Now()), "a model that loads for long is no problem")
		p.healthy.Store(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.False(t, p.Loaded(), "no key")
		p.keyed.Store(true)
		time.Sleep(time.Second)
		synctest.Wait()
		require.True(t, p.Loaded())
		require.EqualValues(t, 1, p.loaded.Load())
		require.InDelta(t, 120, p.State(time.Now()).LoadTime.Seconds(), 0.2)

		p.healthy.Store(false)
		p.keyed.Store(false)
		time.Sleep(29 * time.Second)
		synctest.Wait()
		require.Empty(t, p.State(time.Now()).Problem)
		require.True(t, p.Loaded(), "once is for ever")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Equal(t, "The model server is not healthy.", p.State(time.Now()).Problem)
		p.healthy.Store(true)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Empty(t, p.State(time.Now()).Problem, "it clears by itself")
		p.draining.Store(true)
		require.Equal(t, "draining", p.State(time.Now()).Problem)
	})
}

// TestLoadingMeasures names what is missing, and reports what fails.
func TestLoadingMeasures(t *testing.T) {
	var status atomic.Int64
	status.Store(500)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) }))
	defer server.Close()
	b, err := benchmark.New(benchmark.Options{
		Network: "tcp", Address: strings.TrimPrefix(server.URL, "http://"), Host: "model", Route: "/generate",
		Work: 256, Runs: 2, Concurrency: 2, Timeout: time.Minute,
	})
	require.NoError(t, err)
	p := load(t, b)
	require.Equal(t, "benchmark: warming up", p.Missing())
	p.healthy.Store(true)
	p.keyed.Store(true)
	require.Eventually(t, func() bool { return p.State(time.Now()).Problem != "" }, 20*time.Second, time.Millisecond)
	require.Equal(t, "The benchmark fails: no request was answered with 200: /generate answered 500.", p.State(time.Now()).Problem)
	require.Contains(t, p.Missing(), "/generate answered 500")
	require.False(t, p.Loaded())
	status.Store(200)
	require.Eventually(t, p.Loaded, 20*time.Second, time.Millisecond)
	require.Empty(t, p.Missing())
	state := p.State(time.Now())
	require.Empty(t, state.Problem)
	require.Positive(t, state.LoadTime)
	require.Equal(t, b.Progress().Best, state.MaxPerf)
}
