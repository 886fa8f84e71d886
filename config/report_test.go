package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// reporting is the minimum for reports.
var reporting = []string{"REPORT_ADDR=https://a.example/,http://127.0.0.1:8080", "CONTAINER_ID=17", "MASTER_TOKEN=do-not-tell"}

func TestReport(t *testing.T) {
	require.Zero(t, load(t).Report)
	require.Zero(t, load(t, "REPORT_ADDR=https://a.example").Report, "auto needs both")
	require.Zero(t, load(t, "CONTAINER_ID=hex").Report)
	require.Zero(t, load(t, append(reporting, "USHER_REPORT=off")...).Report)

	c := load(t, reporting...)
	require.Equal(t, Report{
		Generation: Report2026, Addresses: []string{"https://a.example", "http://127.0.0.1:8080"}, ID: 17,
		Token: "do-not-tell", URL: "http://203.0.113.7:3000",
	}, c.Report)
	require.Empty(t, c.Warnings)
	require.Equal(t, Report2024, load(t, append(reporting, "USHER_REPORT=2024")...).Report.Generation)

	c = load(t, append(reporting, "USHER_WORKER_URL=any", "PUBLIC_IPADDR=198.51.100.9", "VAST_TCP_PORT_3000=41000")...)
	require.Equal(t, "http://198.51.100.9:41000", c.Report.URL)

	c = load(t, "REPORT_ADDR=http://10.1.2.3", "CONTAINER_ID=1", "USHER_REPORT_INSECURE=true")
	require.Len(t, c.Warnings, 2)
	require.Contains(t, c.Warnings[0], "MASTER_TOKEN is not set")
	require.Contains(t, c.Warnings[1], "unencrypted")
	require.Empty(t, load(t, "REPORT_ADDR=https://a.example", "CONTAINER_ID=1", "USHER_REPORT=2024").Warnings, "no token is sent")
}

func TestReportFaults(t *testing.T) {
	for _, c := range []struct {
		set      []string
		variable string
		problem  string
	}{
		{[]string{"USHER_REPORT=2026"}, "REPORT_ADDR", "is required if USHER_REPORT is 2026"},
		{[]string{"USHER_REPORT=2024", "REPORT_ADDR=https://a.example"}, "CONTAINER_ID", "is required if USHER_REPORT is 2024"},
		{[]string{"USHER_REPORT=2025"}, "USHER_REPORT", "is not one of"},
		{[]string{"USHER_REPORT_INSECURE=maybe"}, "USHER_REPORT_INSECURE", "is not one of"},
		{[]string{"REPORT_ADDR=https://a.example", "CONTAINER_ID=0x1f"}, "CONTAINER_ID", "is not a whole number"},
		{[]string{"REPORT_ADDR=http://10.1.2.3", "CONTAINER_ID=1"}, "REPORT_ADDR", "MASTER_TOKEN would be sent unencrypted"},
		{[]string{"REPORT_ADDR=a.example", "CONTAINER_ID=1"}, "REPORT_ADDR", "is not an address"},
		{[]string{"REPORT_ADDR=https://u:p@a.example", "CONTAINER_ID=1"}, "REPORT_ADDR", "must not have a user"},
		{append(reporting, "USHER_WORKER_URL=any"), "USHER_WORKER_URL", "reports need this worker's address"},
		{[]string{"USHER_BENCHMARK=fast"}, "USHER_BENCHMARK", "is not auto, off"},
		{[]string{"USHER_BENCHMARK=/elsewhere"}, "USHER_BENCHMARK", "a path of USHER_ROUTES"},
		{[]string{"USHER_BENCHMARK=0"}, "USHER_BENCHMARK", "above 0"},
		{[]string{"USHER_BENCHMARK=-3"}, "USHER_BENCHMARK", "above 0"},
		{[]string{"USHER_BENCHMARK=Inf"}, "USHER_BENCHMARK", "above 0"},
		{[]string{"USHER_BENCHMARK=NaN"}, "USHER_BENCHMARK", "above 0"},
		{[]string{"USHER_ROUTES=/mine", "USHER_BENCHMARK=/mine"}, "USHER_BENCHMARK_BODY", "is required"},
		{[]string{"USHER_BENCHMARK_BODY=[1]"}, "USHER_BENCHMARK_BODY", "must be one JSON object"},
		{[]string{`USHER_BENCHMARK_BODY={"a":1`}, "USHER_BENCHMARK_BODY", "must be one JSON object"},
		{[]string{"USHER_BENCHMARK_BODY=@/no/such/file"}, "USHER_BENCHMARK_BODY", "/no/such"},
		{[]string{"USHER_BENCHMARK_RUNS=0"}, "USHER_BENCHMARK_RUNS", "from 1 to 1000"},
		{[]string{"USHER_BENCHMARK_CONCURRENCY=many"}, "USHER_BENCHMARK_CONCURRENCY", "from 1 to 1000"},
		{[]string{"USHER_BENCHMARK_FILE=/"}, "USHER_BENCHMARK_FILE", "is not a regular file"},
	} {
		_, err := Load(append(base(publicKey(t)), c.set...))
		var faults Faults
		require.True(t, errors.As(err, &faults), "%v: %v", c.set, err)
		found := false
		for _, f := range faults {
			found = found || f.Variable == c.variable && strings.Contains(f.Problem, c.problem)
		}
		require.True(t, found, "%v: %v", c.set, err)
		require.NotContains(t, err.Error(), "do-not-tell")
	}
}

func TestBenchmark(t *testing.T) {
	require.Equal(t, Benchmark{Runs: 8, Concurrency: 10}, load(t).Benchmark, "off")
	require.Equal(t, "/generate", load(t, "USHER_BENCHMARK=auto").Benchmark.Route)
	require.Equal(t, "/generate", load(t, reporting...).Benchmark.Route, "auto with reports")
	require.Equal(t, "/v1/chat/completions", load(t, "USHER_ROUTES=/a,/v1/chat/completions", "USHER_BENCHMARK=AUTO").Benchmark.Route)
	require.Equal(t, 1240.5, load(t, "USHER_BENCHMARK=1240.5").Benchmark.MaxPerf)
	require.Equal(t, "/generate_stream", load(t, "USHER_BENCHMARK=/generate_stream").Benchmark.Route)
	require.Equal(t, 3, load(t, "USHER_MAX_CONCURRENCY=3").Benchmark.Concurrency)
	require.Equal(t, 10, load(t, "USHER_MAX_CONCURRENCY=0").Benchmark.Concurrency)

	file := filepath.Join(t.TempDir(), "body.json")
	require.NoError(t, os.WriteFile(file, []byte("\n{\"mine\":true}\n"), 0o600))
	c := load(t, "USHER_ROUTES=/mine", "USHER_BENCHMARK=/mine", "USHER_BENCHMARK_BODY=@"+file, "USHER_BENCHMARK_FILE="+file)
	require.Equal(t, Benchmark{Route: "/mine", Body: []byte(`{"mine":true}`), Runs: 8, Concurrency: 10, File: file}, c.Benchmark)

	for _, set := range []string{"USHER_BENCHMARK=off", "USHER_ROUTES=/mine"} {
		c := load(t, append(reporting, set)...)
		require.Len(t, c.Warnings, 1)
		require.Contains(t, c.Warnings[0], "max_perf is reported as 0")
	}

	for _, set := range []string{"USHER_ROUTES=/mine", "USHER_ROUTES=GET /generate"} {
		require.Empty(t, load(t, set).Warnings, "off")
		require.Equal(t, []string{
			"USHER_BENCHMARK is auto but measures nothing: USHER_ROUTES has none of /generate, /v1/completions, /v1/chat/completions, /api/generate",
		}, load(t, set, "USHER_BENCHMARK=auto").Warnings, "without reports, too")
	}
}

// The token does not appear in any form in which settings are printed.
func TestTokenIsNotPrinted(t *testing.T) {
	c := load(t, reporting...)
	text, err := json.Marshal(c)
	require.NoError(t, err)
	for _, shown := range []string{
		fmt.Sprintf("%v %+v %#v %v %q %x", *c, *c, *c, c.Report, c.Report.Token, c.Report.Token), fmt.Sprint(c.InForce), string(text),
	} {
		require.NotContains(t, shown, "do-not-tell")
		require.NotContains(t, shown, fmt.Sprintf("%x", "do-not-tell"))
	}
	inForce := map[string]string{}
	for _, v := range c.InForce {
		inForce[v.Name] = v.Value
	}
	require.Equal(t, "2026", inForce["USHER_REPORT"])
	require.Equal(t, "/generate", inForce["USHER_BENCHMARK"])
}
