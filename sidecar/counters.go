package sidecar

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

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

// Collect implements prometheus.Collector. Combinations that never happened are
// shown as 0: a rate over one is then right from its first event on, and the
// number of series never changes.
func (c *requestCounters) Collect(ch chan<- prometheus.Metric) {
	for r, route := range c.routes {
		for o, outcome := range c.outcomes {
			n := float64(c.grid[r*len(c.outcomes)+o].Load())
			ch <- prometheus.MustNewConstMetric(c.desc, prometheus.CounterValue, n, route, outcome)
		}
	}
}
