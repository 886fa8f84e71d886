package metrics

import "github.com/prometheus/client_golang/prometheus"

// Reports registers the counter of attempts to report to the autoscaler, and returns
// the function that counts one. All kinds and outcomes are exported from the start.
func (m *Metrics) Reports(kinds, outcomes []string) func(kind, outcome string) {
	tries := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "usher_reports_total", Help: "Attempts to report to the autoscaler, one for each address tried.",
	}, []string{"kind", "outcome"})
	for _, kind := range kinds {
		for _, outcome := range outcomes {
			tries.WithLabelValues(kind, outcome)
		}
	}
	m.Registry.MustRegister(tries)
	return func(kind, outcome string) { tries.WithLabelValues(kind, outcome).Inc() }
}
