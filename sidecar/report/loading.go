package report

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/usher-sidecar/usher/sidecar/benchmark"
)

const (
	// look is how often Loading checks for what it waits for.
	look = 100 * time.Millisecond
	// patience is how long a model server must be unhealthy before that is
	// reported, because the autoscaler restarts a worker that reports a problem.
	patience = 30 * time.Second
)

// LoadingOptions are what a Loading needs; all but Benchmark are required.
type LoadingOptions struct {
	Started   time.Time                 // of the process
	Healthy   func() bool               // the model server is, according to the prober
	Keyed     func() bool               // there is a key to verify tickets with
	Draining  func() bool               // the worker is shutting down
	Benchmark *benchmark.Benchmark      // nil: none
	MaxPerf   float64                   // workload/s, where it is not measured
	Loaded    func(after time.Duration) // called once it is
}

// Loading follows a worker from its start until it is loaded, which happens once:
// when the model server is healthy, a key is there and the benchmark, if any, is
// done. After that it watches for problems to report to the autoscaler. Make it
// with NewLoading and call Run once; the other methods are safe for concurrent use.
type Loading struct {
	o          LoadingOptions
	loaded     atomic.Int64 // nanoseconds after the start; 0: not yet
	maxPerf    atomic.Pointer[float64]
	wasHealthy atomic.Bool
	failing    atomic.Pointer[time.Time] // since when the model server, healthy before, is not
}

// NewLoading makes one; it starts nothing.
func NewLoading(o LoadingOptions) *Loading {
	l := &Loading{o: o}
	l.maxPerf.Store(&o.MaxPerf)
	return l
}

// Run follows the worker until ctx ends. measure is the context of the benchmark. It
// ends earlier, when a drain begins, so that the benchmark frees the model server.
func (l *Loading) Run(ctx, measure context.Context) {
	var workers sync.WaitGroup
	defer workers.Wait()
	workers.Go(func() { l.watch(ctx) })
	if !until(ctx, l.serving) {
		return
	}
	if b := l.o.Benchmark; b != nil {
		figure, err := b.Run(measure)
		if err != nil {
			return
		}
		l.maxPerf.Store(&figure)
	}
	if until(ctx, l.serving) {
		after := max(time.Since(l.o.Started), 1)
		l.loaded.Store(int64(after))
		l.o.Loaded(after)
	}
}

func (l *Loading) serving() bool { return l.o.Healthy() && l.o.Keyed() }

// until waits for a condition; it reports whether that came before ctx's end.
func until(ctx context.Context, condition func() bool) bool {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return ctx.Err() == nil
}

// watch records since when the model server has been failing.
func (l *Loading) watch(ctx context.Context) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		switch healthy := l.o.Healthy(); {
		case healthy:
			l.wasHealthy.Store(true)
			l.failing.Store(nil)
		case l.wasHealthy.Load() && l.failing.Load() == nil:
			now := time.Now()
			l.failing.Store(&now)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Loaded reports whether the worker has been loaded. Once true it stays true.
func (l *Loading) Loaded() bool { return l.loaded.Load() > 0 }

// Missing says what the benchmark still has to do; "" if there is none or it is
// done. Readiness covers everything else.
func (l *Loading) Missing() string {
	if b := l.o.Benchmark; b != nil && !l.Loaded() {
		if p := b.Progress(); !p.Done {
			return "benchmark: " + p.String()
		}
	}
	return ""
}

// State returns what a report says about loading.
func (l *Loading) State(now time.Time) State {
	s := State{LoadTime: time.Duration(l.loaded.Load()), MaxPerf: *l.maxPerf.Load()}
	since := l.failing.Load()
	switch {
	case l.o.Draining():
		s.Problem = "draining"
	case since != nil && now.Sub(*since) >= patience:
		s.Problem = "The model server is not healthy."
	case l.o.Benchmark != nil && !l.Loaded() && l.o.Benchmark.Progress().Problem != "":
		s.Problem = "The benchmark fails: " + l.o.Benchmark.Progress().Problem + "."
	}
	return s
}
