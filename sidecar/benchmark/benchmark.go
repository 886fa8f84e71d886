// Package benchmark measures how much work the model server does in a second. It calls
// the model server directly, without a ticket or a slot, and so is meant to run before
// requests are let in.
package benchmark

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	leastBackoff, mostBackoff = time.Second, 30 * time.Second

	// maxModels is how many bytes of the list of models are read.
	maxModels = 1 << 20
)

// Options configure a Benchmark. Authorization, PathPrefix, Body, Engine, File and
// Report may be left out.
type Options struct {
	Network, Address, Host, PathPrefix string // of the model server; Network is "tcp" or "unix"
	Authorization                      string // value of the header field; "": none

	Route  string  // path that requests are sent to
	Body   []byte  // of each request; nil: DefaultBody
	Work   float64 // workload of one request, above 0
	Engine string  // "": not known

	Runs        int           // at least 1, not counting one to warm up
	Concurrency int           // requests in each run, all sent at once; at least 1
	Timeout     time.Duration // of one request, above 0
	File        string        // stores the figure; "": it is measured at each start

	// Report is called on progress and problems. It must not block; may be nil.
	Report func(Progress)
}

// Progress is how far a benchmark has come.
type Progress struct {
	Run, Runs int     // Run 0: warming up
	Best      float64 // workload/s of the best run so far; 0: none yet
	Problem   string  // why it makes no progress; "": it does
	Done      bool    // Best is final
	Kept      bool    // Best was not measured, but read from the file
	File      error   // why the file could not be read or written; nil: it could
}

// String describes the progress for people.
func (p Progress) String() string {
	var text string
	switch {
	case p.Done:
		return Figure(p.Best) + " workload/s"
	case p.Run == 0:
		text = "warming up"
	default:
		text = fmt.Sprintf("run %d of %d", p.Run, p.Runs)
	}
	if p.Best > 0 {
		text += ", " + Figure(p.Best) + " workload/s so far"
	}
	if p.Problem != "" {
		text += ": " + p.Problem
	}
	return text
}

// Figure formats a workload for people, as 1,240 or 3.72.
func Figure(workload float64) string {
	if workload < 100 {
		return strconv.FormatFloat(workload, 'g', 3, 64)
	}
	digits := strconv.FormatFloat(workload, 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// A Benchmark measures once. Make it with New and call Run; Progress is safe for
// concurrent use.
type Benchmark struct {
	o        Options
	client   http.Client
	progress atomic.Pointer[Progress]
}

// New makes a benchmark; it sends nothing.
func New(o Options) (*Benchmark, error) {
	if o.Runs < 1 || o.Concurrency < 1 || !(o.Work > 0) || o.Timeout <= 0 {
		return nil, fmt.Errorf("benchmark: %d runs of %d requests of work %v, %s each", o.Runs, o.Concurrency, o.Work, o.Timeout)
	}
	if _, ok := DefaultBody(o.Route, o.Engine); !ok && o.Body == nil {
		return nil, errors.New("benchmark: no body is known for " + o.Route)
	}
	if o.Report == nil {
		o.Report = func(Progress) {}
	}
	dialer := net.Dialer{}
	b := &Benchmark{o: o}
	b.client = http.Client{
		Timeout: o.Timeout,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, o.Network, o.Address)
			},
			MaxIdleConnsPerHost: o.Concurrency,
			DisableCompression:  true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	b.progress.Store(&Progress{Runs: o.Runs})
	return b, nil
}

// Progress returns how far it has come.
func (b *Benchmark) Progress() Progress { return *b.progress.Load() }

func (b *Benchmark) set(change func(*Progress)) {
	p := b.Progress()
	change(&p)
	b.progress.Store(&p)
	b.o.Report(p)
}

// Run measures, or reads an earlier measurement from the file, and returns the
// workload/s of the best run. It retries until it has a figure. The only error is
// ctx's; by then all of its requests have ended.
func (b *Benchmark) Run(ctx context.Context) (float64, error) {
	defer b.client.CloseIdleConnections()
	figure, err := b.kept()
	if err == nil && figure > 0 {
		b.set(func(p *Progress) { p.Best, p.Done, p.Kept = figure, true, true })
		return figure, nil
	}
	if err != nil {
		b.set(func(p *Progress) { p.File = err })
	}
	for run := range b.o.Runs + 1 { // the first one warms up
		figure, err := b.insist(ctx, run)
		if err != nil {
			return 0, err
		}
		b.set(func(p *Progress) {
			p.Problem = ""
			if run > 0 {
				p.Best = max(p.Best, figure)
			}
			p.Run = min(run+1, p.Runs)
			p.Done = run == p.Runs
		})
	}
	best := b.Progress().Best
	if err := b.keep(best); err != nil {
		b.set(func(p *Progress) { p.File = err })
	}
	return best, nil
}

// insist makes one run, and repeats it until at least one of its requests succeeds.
func (b *Benchmark) insist(ctx context.Context, run int) (float64, error) {
	requests := b.o.Concurrency
	if run == 0 {
		requests = 1
	}
	for backoff := leastBackoff; ; backoff = min(2*backoff, mostBackoff) {
		// The model is asked for each time: the server may have had none before.
		figure, err := b.once(ctx, requests, b.bodies(ctx))
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if err == nil {
			return figure, nil
		}
		b.set(func(p *Progress) { p.Problem = "no request was answered with 200: " + err.Error() })
		timer := time.NewTimer(backoff/2 + rand.N(backoff/2))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return 0, ctx.Err()
		}
	}
}

// once sends a number of requests at the same time, and returns the workload of those
// answered with 200 divided by the time until all have ended. If none was, it returns
// the reason.
func (b *Benchmark) once(ctx context.Context, requests int, body func() []byte) (float64, error) {
	results := make([]error, requests)
	var wait sync.WaitGroup
	start := time.Now()
	for i := range results {
		text := body()
		wait.Go(func() { results[i] = b.request(ctx, text) })
	}
	wait.Wait()
	took := max(time.Since(start), time.Microsecond).Seconds()
	answered := 0
	var failure error
	for _, err := range results {
		if err == nil {
			answered++
		} else {
			failure = err
		}
	}
	if answered == 0 {
		return 0, failure
	}
	return b.o.Work * float64(answered) / took, nil
}

// request sends one request and reads its answer to the end.
func (b *Benchmark) request(ctx context.Context, body []byte) error {
	response, err := b.do(ctx, http.MethodPost, b.o.Route, strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %d", b.o.Route, response.StatusCode)
	}
	return nil
}

func (b *Benchmark) do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+b.o.Host+b.o.PathPrefix+path, body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "usher")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if b.o.Authorization != "" {
		request.Header.Set("Authorization", b.o.Authorization)
	}
	return b.client.Do(request)
}
