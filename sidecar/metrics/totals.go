package metrics

import "github.com/prometheus/client_golang/prometheus"

// totals are counters that are kept elsewhere, by the values of one label.
type totals struct {
	desc *prometheus.Desc
	read func() map[string]uint64
}

// Totals registers counters that are kept elsewhere, one for each value of a label.
// read is called at each scrape and returns all of them, including those that are 0.
func (m *Metrics) Totals(name, help, label string, read func() map[string]uint64) {
	m.Registry.MustRegister(&totals{prometheus.NewDesc(name, help, []string{label}, nil), read})
}

// Describe implements prometheus.Collector.
func (t *totals) Describe(ch chan<- *prometheus.Desc) { ch <- t.desc }

// Collect implements prometheus.Collector.
func (t *totals) Collect(ch chan<- prometheus.Metric) {
	for value, n := range t.read() {
		ch <- prometheus.MustNewConstMetric(t.desc, prometheus.CounterValue, float64(n), value)
	}
}
