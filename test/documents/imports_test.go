package documents

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each package imports only what it may: of the project, and of modules that are kept
// in one place. The cores know neither one another nor HTTP.
func TestImportRules(t *testing.T) {
	t.Parallel()
	const project = "github.com/usher-sidecar/usher/"
	allowed := map[string][]string{
		"crypto/certificate": {"crypto"},
		"config":             {"config/preset", "config/route", "crypto", "crypto/certificate", "dialect"},
		"crypto":             {"crypto/modexp"},
		"crypto/modexp":      {},
		"dialect":            {},
		"config/preset":      {"dialect"},
		"envelope":           {"crypto", "dialect"},
		"replay":             {},
		"reorder":            {},
		"config/route":       {"dialect"},
		"sidecar/asynclog":   {},
		"sidecar/burst":      {},
		"sidecar/hangup":     {"sidecar/socket"},
		"sidecar/http1":      {},
		"sidecar/loop":       {},
		"sidecar/account":    {},
		"sidecar/admin":      {"config", "crypto", "replay", "reorder", "sidecar/engine", "sidecar/metrics", "sidecar/status", "sidecar/upstream"},
		"sidecar/front":      {"sidecar/hangup", "sidecar/http1", "sidecar/loop", "sidecar/proxy", "sidecar/socket"},
		"sidecar/relay":      {"dialect", "sidecar/account"},
		"sidecar/socket":     {},
		"sidecar/gate":       {"crypto", "dialect", "envelope", "replay", "reorder", "sidecar/account"},
		"sidecar/proxy":      {},
		"sidecar/metrics":    {"dialect", "sidecar/account"},
		"sidecar/benchmark":  {},
		"sidecar/engine":     {"config/preset"},
		"sidecar/report":     {"sidecar/account", "sidecar/benchmark"},
		"sidecar/trace":      {"sidecar/account"},
		"sidecar/upstream":   {"sidecar/http1", "sidecar/socket"},
		"sidecar/status":     {"sidecar/account"},
		"sidecar":            {"config", "config/route", "crypto", "crypto/certificate", "dialect", "envelope", "replay", "reorder", "sidecar/account", "sidecar/admin", "sidecar/asynclog", "sidecar/benchmark", "sidecar/burst", "sidecar/engine", "sidecar/front", "sidecar/gate", "sidecar/hangup", "sidecar/http1", "sidecar/loop", "sidecar/metrics", "sidecar/proxy", "sidecar/relay", "sidecar/report", "sidecar/status", "sidecar/trace", "sidecar/upstream"},
		"cmd/usher":          {"config", "crypto", "dialect", "envelope", "replay", "sidecar", "sidecar/account", "sidecar/asynclog", "sidecar/gate", "sidecar/status"},
		"cmd/playground":     {"config", "sidecar", "test/autoscaler", "test/loopback", "test/modelserver"},
		"test/autoscaler":    {"test/loopback"},
		"test/chaos":         {},
		"test/bench":         {"crypto", "envelope", "test/autoscaler", "test/loopback"},
		"test/engine/gguf":   {},
		"test/doctable":      {},
		"test/framing":       {},
		"test/full":          {},
		"test/rig":           {"test/autoscaler", "test/full", "test/logreader", "test/loopback", "test/modelserver", "test/rsakey"},
		"test/rsakey":        {"test/full"},
		"test/contract":      {},
		"test/deploy":        {},
		"test/documents":     {},
		"test/life":          {},
		"test/measure":       {},
		"test/network":       {"reorder"},
		"test/operators":     {},
		"test/engine":        {},
		"test/order":         {},
		"test/report":        {},
		"test/security":      {},
		"test/session":       {},
		"test/streams":       {},
		"test/leak":          {},
		"test/logreader":     {},
		"test/loopback":      {},
		"test/modelserver":   {"test/loopback"},
	}
	only := map[string][]string{ // module → who may import it
		"github.com/valyala/fasthttp":  {"sidecar/front"},
		"github.com/caarlos0/env/v10":  {"config"},
		"go.uber.org/zap":              {"sidecar", "sidecar/asynclog", "cmd/usher", "cmd/playground"},
		"go.opentelemetry.io":          {"sidecar/trace"},
		"google.golang.org/protobuf":   {"sidecar/trace"},
		"github.com/prometheus/client": {"sidecar", "sidecar/admin", "sidecar/metrics"},
	}
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "../../...").Output()
	require.NoError(t, err)
	seen := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		name := strings.TrimPrefix(fields[0], project)
		rule, known := allowed[name]
		require.True(t, known, "a package without an import rule: %s", name)
		seen++
		for _, path := range fields[1:] {
			if inner, ok := strings.CutPrefix(path, project); ok {
				require.Contains(t, rule, inner, "%s imports %s", name, inner)
			}
			for module, who := range only {
				if strings.HasPrefix(path, module) {
					require.True(t, slices.Contains(who, name), "%s imports %s", name, path)
				}
			}
		}
	}
	require.Equal(t, len(allowed), seen, "there is a rule for a package that does not exist")
}

// gRPC stays out: OpenTelemetry's exporter would pull it in for a single POST, and it
// was a third of the binary.
func TestNoGRPC(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", "../../cmd/...").Output()
	require.NoError(t, err)
	require.Contains(t, string(out), "go.opentelemetry.io/proto/otlp/trace/v1\n")
	require.NotContains(t, string(out), "google.golang.org/grpc")
	require.NotContains(t, string(out), "go.opentelemetry.io/proto/otlp/collector")
}
