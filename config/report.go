package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/usher-sidecar/usher/config/route"
)

// Generations of reports.
const (
	Report2026 = "2026"
	Report2024 = "2024"
)

// A Secret is a text that no verb prints.
type Secret string

// Format implements fmt.Formatter.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, masked) }

// MarshalText implements encoding.TextMarshaler.
func (Secret) MarshalText() ([]byte, error) { return []byte(masked), nil }

// A Report says what is reported to the autoscaler, and where. The zero value
// reports nothing.
type Report struct {
	Generation string // Report2026 or Report2024; "": nothing is reported
	Addresses  []string
	ID         int64  // of the instance
	Token      Secret // "": none
	URL        string // this worker's public address
}

// A Benchmark says how fast this worker is, or how that is measured at the start.
// The zero value means that it is not known.
type Benchmark struct {
	MaxPerf float64 // workload/s, if it is configured; 0: it is not

	Route       string // where requests are sent; "": it is not measured
	Body        []byte // of each request; nil: the default one
	Runs        int
	Concurrency int
	File        string // keeps the result; "": none
}

// benchmarkRoutes are the routes for which a body is known. auto takes the first one
// that is served, but never the last of the list.
var benchmarkRoutes = []string{"/generate", "/v1/completions", "/v1/chat/completions", "/api/generate", "/generate_stream"}

// mostRuns bounds the runs of a benchmark, and the requests of a run.
const mostRuns = 1000

// readReport reads whether reports are sent, and the settings they need.
func readReport(l *loader) {
	text := l.text.Report
	on := l.vars["REPORT_ADDR"] != "" && l.vars["CONTAINER_ID"] != ""
	generation := l.choice("USHER_REPORT", text, "auto", "off", Report2026, Report2024)
	insecure := l.choice("USHER_REPORT_INSECURE", l.text.ReportInsecure, "false", "true") == "true"
	switch {
	case generation == "off", generation == "auto" && !on:
		return
	case generation == "auto":
		generation = Report2026
	case !on:
		for _, name := range []string{"REPORT_ADDR", "CONTAINER_ID"} {
			if l.vars[name] == "" {
				l.fault(name, "is required if USHER_REPORT is %s", generation)
			}
		}
	}
	r := &l.cfg.Report
	r.Generation = generation
	for _, address := range list(l.vars["REPORT_ADDR"]) {
		if u, err := webURL(address); err != nil {
			l.fault("REPORT_ADDR", "%s", err)
		} else if u.Scheme == "http" && !isLoopback(u.Hostname()) && !insecure {
			l.fault("REPORT_ADDR", "%s is neither https nor loopback: MASTER_TOKEN would be sent unencrypted; USHER_REPORT_INSECURE=true allows that", address)
		}
		r.Addresses = append(r.Addresses, strings.TrimSuffix(address, "/"))
	}
	if id := l.vars["CONTAINER_ID"]; id != "" {
		r.ID = l.integer("CONTAINER_ID", id, 0, math.MaxInt64)
	}
	r.Token = Secret(l.vars["MASTER_TOKEN"])
	switch urls := l.cfg.WorkerURLs; {
	case len(urls) > 0:
		r.URL = urls[0]
	case !strings.EqualFold(l.text.WorkerURL, "any"): // a fault of its own
	case toldByVast(l):
		if urls := vastURL(l, useSSL(l)); len(urls) > 0 {
			r.URL = urls[0]
		}
	default:
		l.fault("USHER_WORKER_URL", "is any, but reports need this worker's address: set it, or set PUBLIC_IPADDR and VAST_TCP_PORT_<port>")
	}
}

// readBenchmark reads how this worker's speed is determined.
func readBenchmark(l *loader) {
	b, t := &l.cfg.Benchmark, &l.text
	b.Runs = int(l.integer("USHER_BENCHMARK_RUNS", t.BenchmarkRuns, 1, mostRuns))
	b.Concurrency = int(l.integer("USHER_BENCHMARK_CONCURRENCY", t.BenchmarkConcurrency, 1, mostRuns))
	if limit := l.cfg.MaxConcurrency; limit > 0 {
		b.Concurrency = min(b.Concurrency, limit)
	}
	b.File = l.place("USHER_BENCHMARK_FILE", t.BenchmarkFile)
	b.Body = readBenchmarkBody(l, t.BenchmarkBody)
	text := t.Benchmark
	if text == "" && l.cfg.Report.Generation != "" {
		text = "auto"
	}
	figure, err := strconv.ParseFloat(text, 64)
	switch {
	case text == "", strings.EqualFold(text, "off"):
	case strings.EqualFold(text, "auto"):
		b.Route = firstBenchmarkRoute(l.cfg.Routes)
	case err == nil && figure > 0 && !math.IsInf(figure, 0):
		b.MaxPerf = figure
	case err == nil:
		l.fault("USHER_BENCHMARK", "%q is not a workload per second above 0", text)
	case !route.Posts(l.cfg.Routes, text):
		l.fault("USHER_BENCHMARK", "%q is not auto, off, a workload per second, or a path of USHER_ROUTES", text)
	default:
		b.Route = text
	}
	if b.Route != "" && b.Body == nil && !slices.Contains(benchmarkRoutes, b.Route) {
		l.fault("USHER_BENCHMARK_BODY", "is required: Usher knows no benchmark request for %s", b.Route)
	}
}

// firstBenchmarkRoute returns the route that auto takes; "" if there is none.
func firstBenchmarkRoute(routes []route.Route) string {
	for _, path := range benchmarkRoutes[:len(benchmarkRoutes)-1] {
		if route.Posts(routes, path) {
			return path
		}
	}
	return ""
}

// readBenchmarkBody reads the body of a benchmark's requests: JSON, or @ and a file.
func readBenchmarkBody(l *loader, text string) []byte {
	const variable = "USHER_BENCHMARK_BODY"
	if text == "" {
		return nil
	}
	body := []byte(text)
	if file, ok := strings.CutPrefix(text, "@"); ok {
		f, err := os.Open(l.place(variable, file))
		if err != nil {
			l.fault(variable, "cannot be read: %s", err)
			return nil
		}
		defer func() { _ = f.Close() }()
		if body, err = io.ReadAll(io.LimitReader(f, mostBody)); err != nil {
			l.fault(variable, "cannot be read: %s", err)
			return nil
		}
	}
	if body = bytes.TrimSpace(body); !json.Valid(body) || body[0] != '{' {
		l.fault(variable, "must be one JSON object, or @ and the path of a file that contains one")
		return nil
	}
	return body
}

// reportWarnings warns about what makes reports less useful or less safe.
func reportWarnings(l *loader) (list []string) {
	r := &l.cfg.Report
	if r.Generation == "" {
		return nil
	}
	if r.Generation == Report2026 && r.Token == "" {
		list = append(list, "MASTER_TOKEN is not set: the autoscaler may not accept this worker's reports")
	}
	for _, address := range r.Addresses {
		if u, err := url.Parse(address); err == nil && r.Generation == Report2026 && u.Scheme == "http" && !isLoopback(u.Hostname()) {
			list = append(list, "USHER_REPORT_INSECURE is true: MASTER_TOKEN is sent unencrypted to "+address)
		}
	}
	if strings.EqualFold(l.text.Benchmark, "off") {
		list = append(list, "USHER_BENCHMARK is off: max_perf is reported as 0, and an autoscaler may route nothing here; set it to a workload per second")
	}
	return list
}

// benchmarkWarnings warns if a benchmark, asked for or implied by reports, has no
// route to measure.
func benchmarkWarnings(l *loader) (list []string) {
	b, reports := &l.cfg.Benchmark, l.cfg.Report.Generation != ""
	asked := strings.EqualFold(l.text.Benchmark, "auto") || l.text.Benchmark == "" && reports
	if !asked || b.Route != "" {
		return nil
	}
	warning := "USHER_BENCHMARK is auto but measures nothing: USHER_ROUTES has none of " +
		strings.Join(benchmarkRoutes[:len(benchmarkRoutes)-1], ", ")
	if reports {
		warning += "; max_perf is reported as 0"
	}
	return append(list, warning)
}

// reportInForce returns the effective settings of reports and benchmark.
func (c *Config) reportInForce() map[string]string {
	report, figure, body := c.Report.Generation, c.Benchmark.Route, ""
	if report == "" {
		report = "off"
	}
	switch {
	case c.Benchmark.MaxPerf > 0:
		figure = strconv.FormatFloat(c.Benchmark.MaxPerf, 'g', -1, 64)
	case figure == "":
		figure = "off"
	}
	if n := len(c.Benchmark.Body); n > 0 {
		body = fmt.Sprintf("(%d bytes)", n)
	}
	return map[string]string{
		"USHER_REPORT": report, "USHER_BENCHMARK": figure, "USHER_BENCHMARK_BODY": body,
		"USHER_BENCHMARK_CONCURRENCY": strconv.Itoa(c.Benchmark.Concurrency),
	}
}
