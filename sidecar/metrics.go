package sidecar

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics are what /metrics shows. Every label comes from a closed set: routes
// from the settings, outcomes from the table of refusals.
type metrics struct {
	registry *prometheus.Registry

	requests    *requestCounters
	genAI       *genAI
	exceeded    prometheus.Counter
	panics      prometheus.Counter
	keyFailures prometheus.Counter
	received    prometheus.Counter
	sent        prometheus.Counter

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
	m.genAI = newGenAI(routes)
	m.received = counter("usher_request_body_bytes_total", "Bytes of request bodies that were read whole.")
	m.sent = counter("usher_response_body_bytes_total", "Bytes of answers' bodies, refusals included.")
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
		Name: "usher_build_info", Help: "Always 1; its labels say which build runs.",
		ConstLabels: prometheus.Labels{"version": version.Number, "commit": version.Commit, "goversion": version.Go},
	}, func() float64 { return 1 })
	m.registry.MustRegister(m.genAI.collectors()...)
	m.registry.MustRegister(m.requests, m.exceeded, m.panics, m.keyFailures, m.received, m.sent, m.hold, m.queue, m.verify,
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
	m.received.Add(float64(r.bytesIn))
	m.sent.Add(float64(r.bytesOut))
	observe(m.duration, now.Sub(r.start), r.traceID)
	m.genAI.observe(r, now)
}

// observe puts a duration into a histogram; where the request belongs to a
// trace, with the trace's id as exemplar, by which one gets from a bucket to a
// request that is in it.
func observe(h prometheus.Observer, d time.Duration, traceID string) {
	if traceID != "" {
		if e, ok := h.(prometheus.ExemplarObserver); ok {
			e.ObserveWithExemplar(d.Seconds(), prometheus.Labels{"trace_id": traceID})
			return
		}
	}
	h.Observe(d.Seconds())
}
