// Package metrics exports the outcomes of requests to Prometheus.
package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/usher-sidecar/usher/sidecar/account"
)

// Metrics is an account.Meter that exports what it is told to Prometheus. Every
// label value comes from a closed set: routes from the settings, outcomes from
// package account. Make it with New; it is safe for concurrent use.
type Metrics struct {
	Registry    *prometheus.Registry
	Panics      prometheus.Counter // requests that hit an internal fault
	KeyFailures prometheus.Counter // failed attempts to read the public key

	requests   *requestCounters
	genAI      *genAI
	exceeded   prometheus.Counter
	unfinished prometheus.Counter
	received   prometheus.Counter
	sent       prometheus.Counter
	times      times
}

// times is where the time of requests went.
type times struct{ hold, queue, verify, ttfb, gap, duration prometheus.Histogram }

// Buckets in seconds: waits begin at a tenth of a millisecond, signatures at 10 µs,
// and streams run for minutes.
var (
	fineBuckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	tinyBuckets = []float64{.00001, .00002, .00003, .00005, .0001, .0002, .0005, .001, .0025, .01}
	longBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800}
)

// New makes the metrics for the given signed and open routes; build is the labels of
// usher_build_info.
func New(signed, open []string, build prometheus.Labels) *Metrics {
	m := &Metrics{Registry: prometheus.NewRegistry()}
	m.requests = newRequestCounters(slices.Concat(signed, open))
	m.genAI = newGenAI(signed)
	m.received = counter("usher_request_body_bytes_total", "Bytes of request bodies that were read.")
	m.sent = counter("usher_response_body_bytes_total", "Bytes of response bodies, including refusals.")
	m.unfinished = counter("usher_unfinished_streams_total", "Streams from the model server that ended cleanly but without their API's final event: something behind the model server broke.")
	m.exceeded = counter("usher_cost_exceeded_total", "Requests that asked for more work than their ticket's cost.")
	m.Panics = counter("usher_panics_total", "Requests that hit an internal fault.")
	m.KeyFailures = counter("usher_public_key_failures_total", "Failed attempts to read the autoscaler's public key.")
	m.times = times{
		hold:     histogram("usher_hold_seconds", "Time a request was held for a missing number while a slot was free.", fineBuckets),
		queue:    histogram("usher_queue_seconds", "Time a request waited for a slot.", fineBuckets),
		verify:   histogram("usher_verify_seconds", "Time to verify one signature.", tinyBuckets),
		ttfb:     histogram("usher_time_to_first_byte_seconds", "Time from the request's head to the first byte of the model server's body.", longBuckets),
		gap:      histogram("usher_token_gap_seconds", "Time between two chunks of a stream.", fineBuckets),
		duration: histogram("usher_request_duration_seconds", "Time from a request's head to the end of its answer.", longBuckets),
	}
	info := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "usher_build_info", Help: "Always 1; its labels identify the running build.",
		ConstLabels: build,
	}, func() float64 { return 1 })
	t := &m.times
	m.Registry.MustRegister(m.genAI.collectors()...)
	m.Registry.MustRegister(m.requests, m.exceeded, m.unfinished, m.Panics, m.KeyFailures, m.received, m.sent, t.hold, t.queue, t.verify,
		t.ttfb, t.gap, t.duration, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func histogram(name, help string, buckets []float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
}

// Gauge registers a gauge whose value is read at each scrape.
func (m *Metrics) Gauge(name, help string, read func() float64) {
	m.Registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

// Total registers a counter whose value is kept elsewhere and read at each scrape.
func (m *Metrics) Total(name, help string, read func() float64) {
	m.Registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, read))
}

// Verified implements account.Meter.
func (m *Metrics) Verified(took time.Duration) { m.times.verify.Observe(took.Seconds()) }

// Waited implements account.Meter.
func (m *Metrics) Waited(hold, queue time.Duration) {
	m.times.hold.Observe(hold.Seconds())
	m.times.queue.Observe(queue.Seconds())
}

// FirstByte implements account.Meter.
func (m *Metrics) FirstByte(r *account.Request) {
	observe(m.times.ttfb, r.Times.FirstByte, r.TraceID)
}

// Gap implements account.Meter.
func (m *Metrics) Gap(since time.Duration) { m.times.gap.Observe(since.Seconds()) }

// Ended implements account.Sink.
func (m *Metrics) Ended(r *account.Request) {
	m.requests.add(r.Route, r.Outcome)
	if r.Exceeded {
		m.exceeded.Inc()
	}
	if r.Answer.Unfinished {
		m.unfinished.Inc()
	}
	m.received.Add(float64(r.BytesIn))
	m.sent.Add(float64(r.BytesOut))
	observe(m.times.duration, r.Times.End.Sub(r.Times.Start), r.TraceID)
	m.genAI.observe(r)
}

// observe adds a duration to a histogram. If the request belongs to a trace, the
// trace's id becomes an exemplar, which leads from a bucket to a request in it.
func observe(h prometheus.Observer, d time.Duration, traceID string) {
	if traceID != "" {
		if e, ok := h.(prometheus.ExemplarObserver); ok {
			e.ObserveWithExemplar(d.Seconds(), prometheus.Labels{"trace_id": traceID})
			return
		}
	}
	h.Observe(d.Seconds())
}
