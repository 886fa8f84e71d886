package metrics

import "github.com/prometheus/client_golang/prometheus"

// optional is a gauge that may have no value.
type optional struct {
	desc *prometheus.Desc
	read func() (value float64, known bool)
}

// Optional registers a gauge whose value is read at each scrape, and which is absent
// while the value is not known.
func (m *Metrics) Optional(name, help string, read func() (value float64, known bool)) {
	m.Registry.MustRegister(&optional{prometheus.NewDesc(name, help, nil, nil), read})
}

// Describe implements prometheus.Collector.
func (o *optional) Describe(ch chan<- *prometheus.Desc) { ch <- o.desc }

// Collect implements prometheus.Collector.
func (o *optional) Collect(ch chan<- prometheus.Metric) {
	if value, known := o.read(); known {
		ch <- prometheus.MustNewConstMetric(o.desc, prometheus.GaugeValue, value)
	}
}
