package metrics

import (
	"slices"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-sidecar/usher/sidecar/account"
)

// requestCounters is usher_requests_total{route,outcome}, as a fixed grid: counting
// is one atomic addition, and clients cannot create series.
type requestCounters struct {
	desc   *prometheus.Desc
	routes []string // the last is account.RouteOther
	row    map[string]int
	grid   [][account.Outcomes]atomic.Uint64 // by route
}

func newRequestCounters(routes []string) *requestCounters {
	c := &requestCounters{
		desc: prometheus.NewDesc("usher_requests_total", "Requests by route and outcome.",
			[]string{"route", "outcome"}, nil),
		row: make(map[string]int),
	}
	for _, r := range append(slices.Clone(routes), account.RouteOther) {
		if _, ok := c.row[r]; !ok { // a signed and an open route may have the same name
			c.row[r] = len(c.routes)
			c.routes = append(c.routes, r)
		}
	}
	c.grid = make([][account.Outcomes]atomic.Uint64, len(c.routes))
	return c
}

func (c *requestCounters) add(route string, outcome account.Outcome) {
	row, ok := c.row[route]
	if !ok {
		row = len(c.routes) - 1
	}
	c.grid[row][outcome].Add(1)
}

// Describe implements prometheus.Collector.
func (c *requestCounters) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements prometheus.Collector. Combinations that have not occurred are
// exported as 0, so that rates are right from the first event on and the number of
// series never changes.
func (c *requestCounters) Collect(ch chan<- prometheus.Metric) {
	for row, route := range c.routes {
		for o := range account.Outcomes {
			n := float64(c.grid[row][o].Load())
			ch <- prometheus.MustNewConstMetric(c.desc, prometheus.CounterValue, n, route, o.String())
		}
	}
}
