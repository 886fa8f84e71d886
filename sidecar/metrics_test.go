package sidecar

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/config"
	"github.com/usher-sidecar/usher/test/doctable"
)

// newIdle makes a sidecar with everything that New wires, which serves nothing.
func newIdle(t testing.TB, settings ...string) *Sidecar {
	t.Helper()
	public := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public()
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	cfg, err := config.Load(append([]string{
		"USHER_ENDPOINT=e", "USHER_WORKER_URL=http://127.0.0.1:3000", "REPORT_ADDR=http://127.0.0.1:1", "CONTAINER_ID=1",
		"USHER_PUBLIC_KEY=" + string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	}, settings...))
	require.NoError(t, err)
	s, err := New(cfg, zap.NewNop(), Version{})
	require.NoError(t, err)
	t.Cleanup(s.close)
	return s
}

// newTold makes an idle sidecar whose model server has reported its load.
func newTold(t *testing.T) *Sidecar {
	t.Helper()
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "vllm:num_requests_running 1\nvllm:num_requests_waiting 0\nvllm:kv_cache_usage_perc 0.5\n")
	}))
	t.Cleanup(model.Close)
	s := newIdle(t, "USHER_ENGINE=vllm", "USHER_UPSTREAM_URL="+model.URL,
		"USHER_ROUTES=/generate,/generate_stream,/v1/completions,/v1/chat/completions", "USHER_OPEN_ROUTES=none")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.engine.Run(ctx)
	}()
	s.engine.Probed(true)
	require.Eventually(t, func() bool { return s.engine.State().Known }, 10*time.Second, time.Millisecond)
	cancel()
	<-ended
	return s
}

// docs/metrics.md lists exactly the metrics that are registered.
func TestMetricsDoc(t *testing.T) {
	families, err := newTold(t).metrics.Registry.Gather()
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
	doctable.Check(t, "../docs/metrics.md", map[string]string{"metrics": table.String(), "labels": labels.String(), "buckets": buckets.String()})
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
