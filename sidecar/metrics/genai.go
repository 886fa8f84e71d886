package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/sidecar/account"
)

// genAI is the server metrics of OpenTelemetry's semantic conventions for generative
// AI (gen_ai.server.*, status "development"), with their Prometheus names and the
// recommended buckets. They describe the model server as seen from outside, from
// when Usher begins to send it a request. Each piece of an event stream counts as
// one token; neither the model nor the real number of tokens is known here.
type genAI struct {
	duration, firstToken, perToken *prometheus.HistogramVec
	routes                         map[string]*genAIRoute
}

// A genAIRoute holds the histograms of one route, looked up once.
type genAIRoute struct {
	duration             [account.Outcomes]prometheus.Observer
	firstToken, perToken prometheus.Observer
}

// The bucket boundaries, in seconds, that the conventions recommend.
var (
	genAIDurationBuckets   = []float64{.01, .02, .04, .08, .16, .32, .64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92}
	genAIFirstTokenBuckets = []float64{.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10}
	genAIPerTokenBuckets   = []float64{.01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5}
)

// genAIError returns the value of error_type, which is empty for a request that
// succeeded.
func genAIError(o account.Outcome) string {
	switch o {
	case account.OK:
		return ""
	case account.UpstreamRefused, account.UpstreamError, account.UpstreamBroken, account.UpstreamTimeout, account.ClientGone:
		return o.String()
	}
	return dialect.Other
}

func newGenAI(routes []string) *genAI {
	vec := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets},
			append([]string{"gen_ai_operation_name", "gen_ai_provider_name"}, labels...))
	}
	g := &genAI{
		duration: vec("gen_ai_server_request_duration_seconds",
			"Time from sending a request to the model server to the last byte of its answer.", genAIDurationBuckets, "error_type"),
		firstToken: vec("gen_ai_server_time_to_first_token_seconds",
			"Time from sending a request to the first piece of its event stream, for streams that succeeded.", genAIFirstTokenBuckets),
		perToken: vec("gen_ai_server_time_per_output_token_seconds",
			"Mean time between the pieces of an event stream, one value for each stream that succeeded; a piece is what arrives at once, usually one token.", genAIPerTokenBuckets),
		routes: make(map[string]*genAIRoute),
	}
	for _, route := range routes {
		api := dialect.Of(route)
		operation, provider := api.Operation, api.Provider
		r := &genAIRoute{
			firstToken: g.firstToken.WithLabelValues(operation, provider),
			perToken:   g.perToken.WithLabelValues(operation, provider),
		}
		for o := range account.Outcomes {
			r.duration[o] = g.duration.WithLabelValues(operation, provider, genAIError(o))
		}
		g.routes[route] = r
	}
	return g
}

func (g *genAI) collectors() []prometheus.Collector {
	return []prometheus.Collector{g.duration, g.firstToken, g.perToken}
}

// observe records a request, if it was sent to the model server.
func (g *genAI) observe(r *account.Request) {
	route := g.routes[r.Route]
	if route == nil || r.Times.Sent.IsZero() {
		return
	}
	observe(route.duration[r.Outcome], r.Times.End.Sub(r.Times.Sent), r.TraceID)
	if r.Outcome != account.OK || !r.Answer.EventStream || r.Answer.Pieces == 0 {
		return
	}
	first := r.Times.Start.Add(r.Times.FirstByte)
	observe(route.firstToken, first.Sub(r.Times.Sent), r.TraceID)
	if r.Answer.Pieces > 1 {
		observe(route.perToken, r.Times.End.Sub(first)/time.Duration(r.Answer.Pieces-1), r.TraceID)
	}
}
