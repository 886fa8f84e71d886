package sidecar

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/config"
	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/envelope"
	"github.com/usher-sidecar/usher/sidecar/account"
	"github.com/usher-sidecar/usher/sidecar/admin"
	"github.com/usher-sidecar/usher/sidecar/benchmark"
	"github.com/usher-sidecar/usher/sidecar/metrics"
	"github.com/usher-sidecar/usher/sidecar/report"
	"github.com/usher-sidecar/usher/sidecar/status"
)

// reports sends reports to the autoscaler and runs the benchmark whose result they
// contain. It is nil on a worker that has neither.
type reports struct {
	log       *zap.Logger
	started   time.Time
	loads     *report.Loading
	measures  *benchmark.Benchmark // nil: max_perf is set, or there is none
	reporter  *report.Reporter     // nil: nothing is reported
	counter   *report.Counter      // nil with reporter
	tried     func(kind, outcome string)
	leaving   chan struct{} // closed when the drain begins
	leaveOnce sync.Once
	failing   map[report.Kind]bool // used by the reporter's goroutine only
}

// newReports makes the reporter, the benchmark, and the check that waits for both, as
// far as they are configured; nil if neither is. checks says when the worker was
// started, and whether it is healthy, has a key and is draining.
func newReports(cfg *config.Config, log *zap.Logger, checks report.LoadingOptions) (*reports, error) {
	if cfg.Report.Generation == "" && cfg.Benchmark.Route == "" && cfg.Benchmark.MaxPerf == 0 {
		return nil, nil
	}
	r := &reports{
		log: log, started: checks.Started, leaving: make(chan struct{}),
		tried: func(string, string) {}, failing: map[report.Kind]bool{},
	}
	var err error
	if cfg.Benchmark.Route != "" {
		if r.measures, err = newBenchmark(cfg, log); err != nil {
			return nil, err
		}
	}
	checks.Benchmark, checks.MaxPerf = r.measures, cfg.Benchmark.MaxPerf
	checks.Loaded = func(after time.Duration) {
		log.Info("loaded", zap.Duration("after", after))
		if r.reporter != nil {
			r.reporter.Poke() // this is what the autoscaler waits for
		}
	}
	r.loads = report.NewLoading(checks)
	if cfg.Report.Generation != "" {
		generation := report.Generation(cfg.Report.Generation)
		tally := report.NewTally(generation.Names(cfg.MaxConnections))
		r.counter = report.NewCounter(tally)
		r.reporter, err = report.New(report.Options{
			Generation: generation, Addresses: cfg.Report.Addresses,
			Identity: report.Identity{ID: cfg.Report.ID, Token: string(cfg.Report.Token), URL: cfg.Report.URL},
			Tally:    tally, State: r.loads.State, Tried: r.note,
		})
	}
	return r, err
}

// newBenchmark makes the benchmark.
func newBenchmark(cfg *config.Config, log *zap.Logger) (*benchmark.Benchmark, error) {
	b := cfg.Benchmark
	amount := float64(benchmark.DefaultWork)
	if b.Body != nil {
		work, err := envelope.StatedWork(b.Body, dialect.Of(b.Route), cfg.Dialect())
		if err != nil {
			return nil, fmt.Errorf("USHER_BENCHMARK_BODY: %w", err)
		}
		if amount = work.Amount(); amount == 0 {
			amount = 1
			log.Warn("USHER_BENCHMARK_BODY states no work that Usher knows: each request counts as 1, and max_perf is requests a second")
		}
	}
	progress := &progressLog{log: log}
	return benchmark.New(benchmark.Options{
		Network: cfg.Upstream.Network, Address: cfg.Upstream.Address, Host: cfg.Upstream.Host, PathPrefix: cfg.Upstream.PathPrefix,
		Authorization: cfg.UpstreamAuthorization,
		Route:         b.Route, Engine: cfg.Engine(), Body: b.Body, Work: amount,
		Runs: b.Runs, Concurrency: b.Concurrency, Timeout: cfg.UpstreamTimeout, File: b.File,
		Report: progress.note,
	})
}

// A progressLog logs the progress of the benchmark. One goroutine uses it.
type progressLog struct {
	log       *zap.Logger
	fileFault error // the last error of the benchmark's file that was logged
}

func (l *progressLog) note(p benchmark.Progress) {
	switch {
	case p.File != nil && !errors.Is(p.File, l.fileFault):
		l.fileFault = p.File
		l.log.Warn("benchmark file not used", zap.Error(p.File))
	case p.Problem != "":
		l.log.Warn("benchmark run failed", zap.Stringer("progress", p))
	default:
		l.log.Info("benchmark progress", zap.Stringer("progress", p), zap.Bool("kept", p.Kept))
	}
}

// note counts an attempt, and logs when reports of one kind begin to fail and when they
// succeed again.
func (r *reports) note(kind report.Kind, outcome report.Outcome, err error) {
	r.tried(string(kind), string(outcome))
	failed := err != nil
	if failed == r.failing[kind] {
		return
	}
	r.failing[kind] = failed
	if failed {
		r.log.Warn("the autoscaler does not accept reports", zap.String("kind", string(kind)), zap.Error(err))
		return
	}
	r.log.Info("the autoscaler accepts reports again", zap.String("kind", string(kind)))
}

// attach has the book count requests and the metrics show the state of reports.
func (r *reports) attach(book *account.Book, m *metrics.Metrics) {
	if r == nil || r.reporter == nil {
		return
	}
	book.Add(r.counter)
	kinds, outcomes := make([]string, len(report.Kinds)), make([]string, len(report.Outcomes))
	for i, k := range report.Kinds {
		kinds[i] = string(k)
	}
	for i, o := range report.Outcomes {
		outcomes[i] = string(o)
	}
	r.tried = m.Reports(kinds, outcomes)
	m.Gauge("usher_report_age_seconds", "Time since the autoscaler last acknowledged a report; since the start, before the first.",
		func() float64 { return r.silent(time.Now()).Seconds() })
	m.Total("usher_reports_dropped_total", "Ended requests that were never named to the autoscaler, for too many waited.",
		func() float64 { return float64(r.reporter.Dropped()) })
}

// silent returns for how long no report has been acknowledged.
func (r *reports) silent(now time.Time) time.Duration {
	if said := r.reporter.Said(); said != nil {
		return now.Sub(said.At)
	}
	return now.Sub(r.started)
}

// accepted returns the function to call for verified tickets; nil if there are no
// reports.
func (r *reports) accepted() func(*account.Request) {
	if r == nil || r.counter == nil {
		return nil
	}
	return r.counter.Accepted
}

// loading reports whether the worker is still loading, so that requests are refused.
func (r *reports) loading() bool { return r != nil && !r.loads.Loaded() }

// missing says what the worker still waits for before it is loaded; "" if it is loaded.
func (r *reports) missing(elseOK bool) string {
	switch {
	case !r.loading():
		return ""
	case r.loads.Missing() != "":
		return r.loads.Missing()
	case elseOK:
		return "about to be"
	}
	return "waiting for the other checks"
}

// leave reports the drain at once and ends the benchmark.
func (r *reports) leave() {
	if r == nil {
		return
	}
	r.leaveOnce.Do(func() { close(r.leaving) })
	if r.reporter != nil {
		r.reporter.Poke()
	}
}

// run sends reports until ctx ends, and then what is left.
func (r *reports) run(ctx context.Context) {
	if r == nil {
		return
	}
	measure, cancel := context.WithCancel(ctx)
	defer cancel()
	var workers sync.WaitGroup
	defer workers.Wait()
	workers.Go(func() {
		select {
		case <-r.leaving:
			cancel()
		case <-measure.Done():
		}
	})
	workers.Go(func() { r.loads.Run(ctx, measure) })
	if r.reporter != nil {
		workers.Go(func() { _ = r.reporter.Run(ctx) })
	}
	<-ctx.Done()
}

// describe returns what the status pages show; nil if there is nothing to show.
func (r *reports) describe() func(time.Time) status.Report {
	if r == nil {
		return nil
	}
	return func(now time.Time) status.Report {
		if r.reporter == nil {
			return status.Report{OK: true, Text: "off; " + r.speed()}
		}
		said, silent := r.reporter.Said(), r.silent(now)
		d := status.Report{OK: silent < admin.ReportPatience, Text: status.Reported(said != nil, silent) + "; " + r.speed()}
		if said != nil {
			d.Said = fmt.Sprintf("it said: %s workload taken in, %s in work in %d requests, max_perf %s",
				benchmark.Figure(said.Taken), benchmark.Figure(said.Load), said.Working, benchmark.Figure(said.State.MaxPerf))
			if said.State.Problem != "" {
				d.Said += ", problem: " + said.State.Problem
			}
		}
		return d
	}
}

// speed describes the result or progress of the benchmark.
func (r *reports) speed() string {
	if r.measures != nil {
		return "benchmark: " + r.measures.Progress().String()
	}
	return "max_perf is set to " + benchmark.Figure(r.loads.State(time.Now()).MaxPerf)
}
