package modelserver

import (
	"context"
	"fmt"
	"net/http"
	"sync"
)

// An Engine makes a Server report its load at GET /metrics as vLLM does, work on a
// limited number of requests at once, and miss some hang-ups.
type Engine struct {
	Slots  int // requests worked on at once, while the others wait; 0: no limit
	DeafTo int // one in so many hang-ups is missed, and its request worked on to the end; 0: none is missed
}

// bench is an Engine at work.
type bench struct {
	Engine
	places chan struct{} // nil: no limit

	mu               sync.Mutex
	running, waiting int
	hangups, ignored int
}

func newBench(e Engine) *bench {
	b := &bench{Engine: e}
	if e.Slots > 0 {
		b.places = make(chan struct{}, e.Slots)
	}
	return b
}

func (b *bench) count(running, waiting int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running += running
	b.waiting += waiting
}

// figures answers GET /metrics.
func (b *bench) figures(w http.ResponseWriter) {
	b.mu.Lock()
	running, waiting := b.running, b.waiting
	b.mu.Unlock()
	use := 0.0
	if b.Slots > 0 {
		use = float64(running) / float64(b.Slots)
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	const labels = `{engine="0",model_name="toy"}`
	_, _ = fmt.Fprintf(w, "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running%s %d\n"+
		"# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting%s %d\n"+
		"# TYPE vllm:kv_cache_usage_perc gauge\nvllm:kv_cache_usage_perc%s %v\n", labels, running, labels, waiting, labels, use)
}

// work waits until there is a place for a request, then serves it. The request ends
// early if its client leaves and that is noticed, or when ending ends.
func (b *bench) work(w http.ResponseWriter, r *http.Request, ending context.Context, serve func(http.ResponseWriter, *http.Request)) {
	ctx, stop := context.WithCancel(context.WithoutCancel(r.Context()))
	defer stop()
	defer context.AfterFunc(ending, stop)()
	deaf := &deafWriter{ResponseWriter: w}
	defer context.AfterFunc(r.Context(), func() {
		if b.hears() {
			stop()
		} else {
			deaf.set()
		}
	})()
	if b.places != nil {
		b.count(0, 1)
		select {
		case b.places <- struct{}{}:
			b.count(0, -1)
			defer func() { <-b.places }()
		case <-ctx.Done():
			b.count(0, -1)
			return
		}
	}
	b.count(1, 0)
	defer b.count(-1, 0)
	serve(deaf, r.WithContext(ctx))
}

// hears counts a hang-up and reports whether it is noticed.
func (b *bench) hears() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hangups++
	if b.DeafTo == 0 || b.hangups%b.DeafTo > 0 {
		return true
	}
	b.ignored++
	return false
}

// Ignored returns how many hang-ups an Engine has missed.
func (s *Server) Ignored() int {
	if s.bench == nil {
		return 0
	}
	s.bench.mu.Lock()
	defer s.bench.mu.Unlock()
	return s.bench.ignored
}

// A deafWriter is the writer of a request whose client may leave unnoticed: writing to
// it then still succeeds.
type deafWriter struct {
	http.ResponseWriter
	mu   sync.Mutex
	deaf bool
}

func (d *deafWriter) set() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deaf = true
}

// Write implements http.ResponseWriter.
func (d *deafWriter) Write(p []byte) (int, error) {
	n, err := d.ResponseWriter.Write(p)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.deaf {
		return len(p), nil
	}
	return n, err
}

// FlushError is for http.ResponseController.
func (d *deafWriter) FlushError() error {
	err := http.NewResponseController(d.ResponseWriter).Flush()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.deaf {
		return nil
	}
	return err
}
