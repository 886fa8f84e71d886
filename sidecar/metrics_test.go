package sidecar

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/config"
	"github.com/usher-sidecar/usher/dialect"
)

// newIdle is a sidecar that does nothing, with all that New wires.
func newIdle(t testing.TB) *Sidecar {
	t.Helper()
	public := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public()
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	cfg, err := config.Load([]string{
		"USHER_ENDPOINT=e", "USHER_WORKER_URL=any",
		"USHER_PUBLIC_KEY=" + string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	})
	require.NoError(t, err)
	s, err := New(cfg, zap.NewNop(), Version{})
	require.NoError(t, err)
	t.Cleanup(s.close)
	return s
}

// docs/metrics.md lists what is registered, and nothing else.
func TestMetricsDoc(t *testing.T) {
	const path = "../docs/metrics.md"
	families, err := newIdle(t).metrics.registry.Gather()
	require.NoError(t, err)
	var table, labels, buckets bytes.Buffer
	table.WriteString("| name | type | labels | |\n| --- | --- | --- | --- |\n")
	labels.WriteString("| label | values |\n| --- | --- |\n")
	buckets.WriteString("| histogram | buckets |\n| --- | --- |\n")
	values := map[string]map[string]bool{}
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "go_") || strings.HasPrefix(f.GetName(), "process_") {
			continue
		}
		var names []string
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if !slices.Contains(names, l.GetName()) {
					names = append(names, l.GetName())
				}
				if values[l.GetName()] == nil {
					values[l.GetName()] = map[string]bool{}
				}
				values[l.GetName()][l.GetValue()] = true
			}
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), code(names), f.GetHelp())
		if f.GetType() == dto.MetricType_HISTOGRAM {
			var bounds []string
			for _, b := range f.Metric[0].Histogram.Bucket {
				bounds = append(bounds, fmt.Sprint(b.GetUpperBound()))
			}
			fmt.Fprintf(&buckets, "| `%s` | %s |\n", f.GetName(), strings.Join(bounds, ", "))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if name == "version" || name == "commit" || name == "goversion" {
			continue // of the build
		}
		fmt.Fprintf(&labels, "| `%s` | %s |\n", name, code(slices.Sorted(maps.Keys(values[name]))))
	}

	doc, err := os.ReadFile(path)
	require.NoError(t, err)
	want := section(t, string(doc), "metrics", table.String())
	want = section(t, want, "labels", labels.String())
	want = section(t, want, "buckets", buckets.String())
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(doc), "run: go test ./sidecar -run MetricsDoc -update")
}

func code(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = "`" + w + "`"
		if w == "" {
			quoted[i] = "(empty)"
		}
	}
	return strings.Join(quoted, ", ")
}

func TestTraceID(t *testing.T) {
	const id, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for value, want := range map[string]string{
		"00-" + id + "-" + parent + "-01":                      id,
		"00-" + id + "-" + parent + "-00":                      id,
		"01-" + id + "-" + parent + "-01":                      id,
		"01-" + id + "-" + parent + "-01-what-comes":           id,
		"00-" + id + "-" + parent + "-01-what-comes":           "",
		"01-" + id + "-" + parent + "-01what":                  "",
		"ff-" + id + "-" + parent + "-01":                      "",
		"00-" + strings.ToUpper(id) + "-" + parent + "-01":     "",
		"00-" + strings.Repeat("0", 32) + "-" + parent + "-01": "",
		"00-" + id + "-" + strings.Repeat("0", 16) + "-01":     "",
		"00-" + id + "-" + parent + "-0":                       "",
		"00_" + id + "-" + parent + "-01":                      "",
		"":                                                     "",
	} {
		var h fasthttp.RequestHeader
		h.Set("traceparent", value)
		require.Equal(t, want, traceIDOf(&h), "%q", value)
	}
	var twice fasthttp.RequestHeader
	twice.Add("traceparent", "00-"+id+"-"+parent+"-01")
	twice.Add("traceparent", "00-"+id+"-"+parent+"-01")
	require.Empty(t, traceIDOf(&twice))
}

// The generative-AI metrics are of what was sent to the model server, and the
// times to tokens of the event streams among it that ended well.
func TestGenAI(t *testing.T) {
	start := time.Now()
	at := func(d time.Duration) time.Time { return start.Add(d) }
	ok := record{route: "/v1/chat/completions", outcome: outcomeOK, status: 200, start: start, sent: at(time.Second),
		ttfb: 1500 * time.Millisecond, streamed: true, pieces: 6}
	with := func(change func(*record)) record { r := ok; change(&r); return r }
	for name, test := range map[string]struct {
		record                         record
		failure                        string
		duration, firstToken, perToken float64 // sums; 0: none
	}{
		"a stream":          {ok, "", 2, .5, .3},
		"one piece":         {with(func(r *record) { r.pieces = 1 }), "", 2, .5, 0},
		"no stream":         {with(func(r *record) { r.streamed = false }), "", 2, 0, 0},
		"a 4xx":             {with(func(r *record) { r.status = 429 }), "", 2, 0, 0},
		"client gone":       {with(func(r *record) { r.outcome = outcomeClientGone }), outcomeClientGone, 2, 0, 0},
		"cut":               {with(func(r *record) { r.outcome = outcomeCut }), dialect.Other, 2, 0, 0},
		"not sent":          {with(func(r *record) { r.sent = time.Time{} }), "", 0, 0, 0},
		"not a route":       {with(func(r *record) { r.route = routeOther }), "", 0, 0, 0},
		"the model's fault": {with(func(r *record) { r.outcome = outcomeUpstreamError }), outcomeUpstreamError, 2, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGenAI([]string{ok.route})
			g.observe(&test.record, at(3*time.Second))
			route := g.routes[ok.route]
			require.InDelta(t, test.duration, sum(t, route.duration[test.failure]), 1e-9)
			require.InDelta(t, test.firstToken, sum(t, route.firstToken), 1e-9)
			require.InDelta(t, test.perToken, sum(t, route.perToken), 1e-9)
		})
	}
}

func sum(t *testing.T, h any) float64 {
	t.Helper()
	var m dto.Metric
	require.NoError(t, h.(interface{ Write(*dto.Metric) error }).Write(&m))
	return m.GetHistogram().GetSampleSum()
}
