package sidecar

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics are what /metrics shows. Every label comes from a closed set: routes
// from the settings, outcomes from the table of refusals.
type metrics struct {
	registry *prometheus.Registry

	requests    *requestCounters
	exceeded    prometheus.Counter
	panics      prometheus.Counter
	keyFailures prometheus.Counter

	hold, queue, verify, ttfb, gap, duration prometheus.Histogram
}

// Buckets in seconds: waiting is measured from tenths of a millisecond, streams
// run for minutes.
var (
	fineBuckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	tinyBuckets = []float64{.00001, .00002, .00003, .00005, .0001, .0002, .0005, .001, .0025, .01}
	longBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800}
)

func newMetrics(version Version, routes []string) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	m.requests = newRequestCounters(routes)
	m.exceeded = counter("usher_cost_exceeded_total", "Requests that asked for more work than their ticket's cost.")
	m.panics = counter("usher_panics_total", "Requests that hit an internal fault.")
	m.keyFailures = counter("usher_public_key_failures_total", "Failed tries to read the autoscaler's public key.")
	m.hold = histogram("usher_hold_seconds", "Time a request was held for a missing number while a slot was free.", fineBuckets)
	m.queue = histogram("usher_queue_seconds", "Time a request waited for a slot.", fineBuckets)
	m.verify = histogram("usher_verify_seconds", "Time to verify one signature.", tinyBuckets)
	m.ttfb = histogram("usher_time_to_first_byte_seconds", "Time from the request's head to the first byte of the model server's body.", longBuckets)
	m.gap = histogram("usher_token_gap_seconds", "Time between two chunks of a stream.", fineBuckets)
	m.duration = histogram("usher_request_duration_seconds", "Time from a request's head to the end of its answer.", longBuckets)
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "usher_build_info", Help: "Always 1; the labels say which build runs.",
		ConstLabels: prometheus.Labels{"version": version.Number, "commit": version.Commit, "goversion": version.Go},
	}, func() float64 { return 1 })
	m.registry.MustRegister(m.requests, m.exceeded, m.panics, m.keyFailures, m.hold, m.queue, m.verify,
		m.ttfb, m.gap, m.duration, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func histogram(name, help string, buckets []float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
}

// gauge registers a figure that is read when it is asked for.
func (m *metrics) gauge(name, help string, read func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

// total registers a counter that somebody else keeps.
func (m *metrics) total(name, help string, read func() float64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, read))
}

// observe accounts for one request that has ended.
func (m *metrics) observe(r *record, now time.Time) {
	m.requests.add(r.route, r.outcome)
	if r.exceeded {
		m.exceeded.Inc()
	}
	m.duration.Observe(now.Sub(r.start).Seconds())
}

// requestCounters is usher_requests_total{route,outcome}: a fixed grid, so that
// counting is one atomic addition and a series cannot come from a client.
type requestCounters struct {
	desc     *prometheus.Desc
	routes   []string
	outcomes []string
	route    map[string]int
	outcome  map[string]int
	grid     []atomic.Uint64
}

func newRequestCounters(routes []string) *requestCounters {
	c := &requestCounters{
		desc: prometheus.NewDesc("usher_requests_total", "Requests by route and outcome.",
			[]string{"route", "outcome"}, nil),
		routes: append(append([]string(nil), routes...), routeOther),
		route:  make(map[string]int), outcome: make(map[string]int),
	}
	for i, r := range c.routes {
		c.route[r] = i
	}
	for _, o := range outcomes() {
		c.outcome[o] = len(c.outcomes)
		c.outcomes = append(c.outcomes, o)
	}
	c.grid = make([]atomic.Uint64, len(c.routes)*len(c.outcomes))
	return c
}

// outcomes lists every outcome there is, each once.
func outcomes() []string {
	list := []string{outcomeOK, outcomeUpstreamError, outcomeClientGone, outcomeClientSlow, outcomeCut, codeHTTP, unforeseen.code}
	seen := map[string]bool{codeHTTP: true}
	for _, r := range refusals {
		if !seen[r.code] {
			seen[r.code] = true
			list = append(list, r.code)
		}
	}
	return list
}

func (c *requestCounters) add(route, outcome string) {
	r, ok := c.route[route]
	if !ok {
		r = len(c.routes) - 1
	}
	o, ok := c.outcome[outcome]
	if !ok {
		o = c.outcome[unforeseen.code]
	}
	c.grid[r*len(c.outcomes)+o].Add(1)
}

// byOutcome puts the totals of all routes into dst, in the order of outcomes.
func (c *requestCounters) byOutcome(dst []uint64) {
	clear(dst)
	for i := range c.grid {
		dst[i%len(c.outcomes)] += c.grid[i].Load()
	}
}

// Describe implements prometheus.Collector.
func (c *requestCounters) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements prometheus.Collector. A combination that never happened is
// left out, but for "ok", so that a rate over it is 0 and not absent.
func (c *requestCounters) Collect(ch chan<- prometheus.Metric) {
	for r, route := range c.routes {
		for o, outcome := range c.outcomes {
			n := c.grid[r*len(c.outcomes)+o].Load()
			if n > 0 || outcome == outcomeOK && route != routeOther {
				ch <- prometheus.MustNewConstMetric(c.desc, prometheus.CounterValue, float64(n), route, outcome)
			}
		}
	}
}
