package report

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/usher-sidecar/usher/sidecar/benchmark"
)

const (
	// look is how often Loading looks at what it waits for.
	look = 100 * time.Millisecond
	// patience is how long a model server that was healthy may not be before that
	// is reported: the autoscaler restarts a worker that reports a problem.
	patience = 30 * time.Second
)

// LoadingOptions are what a Loading needs; all but Benchmark are required.
type LoadingOptions struct {
	Started   time.Time                 // of the process
	Healthy   func() bool               // the model server is, by the damped rule
	Keyed     func() bool               // there is a key to verify tickets with
	Draining  func() bool               // the worker is leaving
	Benchmark *benchmark.Benchmark      // nil: none
	MaxPerf   float64                   // workload/s, where it is not measured
	Loaded    func(after time.Duration) // called once it is
}

// Loading follows a worker from its start until it is loaded, which happens once:
// when the model server is healthy, a key is there and the benchmark, if any, is
// done. It then watches what has to be told to the autoscaler as a problem. Make it
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

// Run follows the worker until ctx ends. measure is the context of the benchmark,
// which has to leave the model server to others earlier than that.
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

// watch notes since when the model server fails.
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

// Loaded reports whether the worker was loaded once. Nothing takes that back.
func (l *Loading) Loaded() bool { return l.loaded.Load() > 0 }

// Missing is what of the benchmark is still to come; "" where there is none or it
// is done. What else is missing is readiness' to say.
func (l *Loading) Missing() string {
	if b := l.o.Benchmark; b != nil && !l.Loaded() {
		if p := b.Progress(); !p.Done {
			return "benchmark: " + p.String()
		}
	}
	return ""
}

// State is what a report says of it.
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
