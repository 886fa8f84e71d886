package metrics

import "github.com/prometheus/client_golang/prometheus"

// optional is a gauge that is not always known.
type optional struct {
	desc *prometheus.Desc
	read func() (value float64, known bool)
}

// Optional registers a figure that is read at each scrape, and absent while it is
// not known.
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
