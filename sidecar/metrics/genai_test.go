package metrics

import (
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/sidecar/account"
)

// The generative-AI metrics are of what was sent to the model server, and the
// times to tokens of the event streams among it that ended well.
func TestGenAI(t *testing.T) {
	start := time.Now()
	at := func(d time.Duration) time.Time { return start.Add(d) }
	ok := account.Request{
		Route: "/v1/chat/completions", Status: 200, Answer: account.Answer{EventStream: true, Pieces: 6},
		Times: account.Times{Start: start, Sent: at(time.Second), FirstByte: 1500 * time.Millisecond, End: at(3 * time.Second)},
	}
	with := func(change func(*account.Request)) account.Request { r := ok; change(&r); return r }
	for name, test := range map[string]struct {
		request                        account.Request
		duration, firstToken, perToken float64 // sums; 0: none
	}{
		"a stream":          {ok, 2, .5, .3},
		"one piece":         {with(func(r *account.Request) { r.Answer.Pieces = 1 }), 2, .5, 0},
		"no stream":         {with(func(r *account.Request) { r.Answer.EventStream = false }), 2, 0, 0},
		"a 4xx":             {with(func(r *account.Request) { r.Status, r.Outcome = 429, account.UpstreamRefused }), 2, 0, 0},
		"client gone":       {with(func(r *account.Request) { r.Outcome = account.ClientGone }), 2, 0, 0},
		"cut":               {with(func(r *account.Request) { r.Outcome = account.Cut }), 2, 0, 0},
		"not sent":          {with(func(r *account.Request) { r.Times.Sent = time.Time{} }), 0, 0, 0},
		"not a route":       {with(func(r *account.Request) { r.Route = account.RouteOther }), 0, 0, 0},
		"the model's fault": {with(func(r *account.Request) { r.Outcome = account.UpstreamError }), 2, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGenAI([]string{ok.Route})
			g.observe(&test.request)
			route := g.routes[ok.Route]
			require.InDelta(t, test.duration, sum(t, route.duration[test.request.Outcome]), 1e-9)
			require.InDelta(t, test.firstToken, sum(t, route.firstToken), 1e-9)
			require.InDelta(t, test.perToken, sum(t, route.perToken), 1e-9)
		})
	}
}

// error_type is empty for requests that succeeded, and has one value for all errors
// that are not the model server's.
func TestGenAIErrors(t *testing.T) {
	require.Empty(t, genAIError(account.OK))
	require.Equal(t, "upstream_error", genAIError(account.UpstreamError))
	require.Equal(t, "upstream_refused", genAIError(account.UpstreamRefused))
	require.Equal(t, "client_gone", genAIError(account.ClientGone))
	require.Equal(t, dialect.Other, genAIError(account.Cut))
}

func sum(t *testing.T, h any) float64 {
	t.Helper()
	var m dto.Metric
	require.NoError(t, h.(interface{ Write(*dto.Metric) error }).Write(&m))
	return m.GetHistogram().GetSampleSum()
}
