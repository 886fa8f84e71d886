package operators

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/rig"
)

// A prometheus is Debian's Prometheus, run as a child that scrapes an usher every
// second.
type prometheus struct{ url string }

func startPrometheus(t *testing.T, u *rig.Usher) *prometheus {
	t.Helper()
	command := rig.Need(t, "prometheus", "prometheus")
	rules, err := filepath.Abs("../../deploy/prometheus/alerts.yml")
	require.NoError(t, err)
	dir := t.TempDir()
	settings := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(settings, fmt.Appendf(nil, `
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs: [{job_name: usher, static_configs: [{targets: [%q]}]}]
`, rules, u.Admin), 0o600))
	cmd := exec.Command(command, "--config.file="+settings, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address=127.0.0.1:0", "--enable-feature=exemplar-storage")
	said, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	address, ended := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		listening := regexp.MustCompile(`msg="Listening on" address=(\S+)`)
		for lines := bufio.NewScanner(said); lines.Scan(); {
			if m := listening.FindStringSubmatch(lines.Text()); m != nil && m[1] != "127.0.0.1:0" {
				address <- m[1]
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		_ = cmd.Wait()
	})
	select {
	case a := <-address:
		p := &prometheus{"http://" + a}
		require.Eventually(t, func() bool {
			resp, err := http.Get(p.url + "/-/ready")
			if err != nil {
				return false
			}
			_ = resp.Body.Close()
			return resp.StatusCode == http.StatusOK
		}, rig.Patience, 20*time.Millisecond, "prometheus is not ready")
		return p
	case <-time.After(rig.Patience):
		require.FailNow(t, "prometheus does not listen")
	case <-ended:
		require.FailNow(t, "prometheus ended")
	}
	return nil
}

// ask calls the HTTP API.
func (p *prometheus) ask(path string, query url.Values, into any) error {
	resp, err := http.Get(p.url + path + "?" + query.Encode())
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s", answer.Error)
	}
	return json.Unmarshal(answer.Data, into)
}

// hasData reports whether an expression has at least one value that is a number.
func (p *prometheus) hasData(expr string) (bool, error) {
	var data struct {
		Result []struct{ Value [2]any }
	}
	if err := p.ask("/api/v1/query", url.Values{"query": {expr}}, &data); err != nil {
		return false, err
	}
	for _, series := range data.Result {
		if v, err := strconv.ParseFloat(series.Value[1].(string), 64); err == nil && !math.IsNaN(v) {
			return true, nil
		}
	}
	return false, nil
}

// expressions are those of the dashboard, its variables and the alerts, ready to be
// queried. Of an alert it is the left side, as the whole has no value while all is
// well.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../deploy/grafana/usher.json")
	require.NoError(t, err)
	var dashboard struct {
		Panels []struct {
			Title   string
			Type    string
			Targets []struct{ RefID, Expr string }
		}
		Templating struct {
			List []struct {
				Name, Type string
				Query      any
			}
		}
	}
	require.NoError(t, json.Unmarshal(text, &dashboard))
	list := map[string]string{}
	fill := strings.NewReplacer("$__rate_interval", "10s", "$instance", ".*", "$job", ".*")
	for _, p := range dashboard.Panels {
		require.True(t, p.Type == "row" || len(p.Targets) > 0, "%s asks nothing", p.Title)
		for _, target := range p.Targets {
			list["panel "+p.Title+" "+target.RefID] = fill.Replace(target.Expr)
		}
	}
	for _, v := range dashboard.Templating.List {
		if v.Type == "query" {
			inner := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`).FindStringSubmatch(v.Query.(map[string]any)["query"].(string))
			require.NotNil(t, inner, v.Name)
			list["variable "+v.Name] = fmt.Sprintf(`count by (%s) (%s)`, inner[2], fill.Replace(inner[1]))
		}
	}
	require.Greater(t, len(list), 30)
	return list
}

// Every query of the dashboard and of every alert returns data from a real Prometheus
// that has scraped a live sidecar.
func TestDashboardAndAlerts(t *testing.T) {
	full.Only(t)
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			_, _ = fmt.Fprintf(w, rig.Figures["vllm"], 1, 0)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for range 3 {
			_, _ = io.WriteString(w, "data: token\n\n")
			w.(http.Flusher).Flush()
			time.Sleep(2 * time.Millisecond) // so that the pieces come one by one
		}
		_, _ = io.WriteString(w, "data: [DONE]\n\n")
	})
	u := rig.Start(t, rig.Reporting(m, s, rig.NewScaler(t, nil).URL).With(rig.Env{
		"USHER_MAX_SESSIONS": "1", "USHER_ENGINE": "vllm", "USHER_ROUTES": "/generate,/generate_stream,/v1/completions,/v1/chat/completions",
	})).Ready()
	p := startPrometheus(t, u)
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	traffic := func() {
		for _, path := range []string{"/generate_stream", "/v1/completions", "/v1/chat/completions"} {
			got := u.Do("POST", path, s.Ticket().Flat(`"stream":true`), http.Header{"Traceparent": {"00-" + trace + "-00f067aa0ba902b7-01"}})
			require.Equal(t, 200, got.Status, got.Body)
		}
		s.Next.Add(1) // a number that never comes
		require.Equal(t, 404, u.Post("/nowhere", nil).Status)
		require.Equal(t, 401, u.Post("/generate", s.Ticket().With("signature", `"AAAA"`).Flat("")).Status)
	}

	wanting := expressions(t)
	var rules struct {
		Groups []struct {
			Rules []struct{ Name, Query, Health, LastError string }
		}
	}
	require.Eventually(t, func() bool {
		require.NoError(t, p.ask("/api/v1/rules", nil, &rules))
		for _, r := range rules.Groups[0].Rules {
			if r.Health == "unknown" {
				return false
			}
		}
		return true
	}, rig.Patience, 50*time.Millisecond)
	comparison := regexp.MustCompile(`^((?s).+) (==|>|<) [0-9.]+$`)
	for _, r := range rules.Groups[0].Rules {
		require.Equal(t, "ok", r.Health, "%s: %s", r.Name, r.LastError)
		sides := comparison.FindStringSubmatch(r.Query)
		require.NotNil(t, sides, "%s: %s", r.Name, r.Query)
		wanting["alert "+r.Name] = sides[1]
	}
	require.Greater(t, len(rules.Groups[0].Rules), 10)

	deadline := time.Now().Add(3 * rig.Patience)
	for len(wanting) > 0 && time.Now().Before(deadline) {
		traffic()
		for name, expr := range wanting {
			has, err := p.hasData(expr)
			require.NoError(t, err, "%s: %s", name, expr)
			if has {
				delete(wanting, name)
			}
		}
	}
	require.Empty(t, wanting, "expressions without data")

	require.Eventually(t, func() bool {
		traffic()
		var found []struct {
			Exemplars []struct{ Labels map[string]string }
		}
		query := url.Values{"query": {`{__name__=~"usher_request_duration_seconds_bucket|gen_ai_server_request_duration_seconds_bucket"}`},
			"start": {strconv.FormatInt(time.Now().Add(-time.Hour).Unix(), 10)}, "end": {strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)}}
		require.NoError(t, p.ask("/api/v1/query_exemplars", query, &found))
		return len(found) >= 2 && found[0].Exemplars[0].Labels["trace_id"] == trace
	}, rig.Patience, 100*time.Millisecond, "no exemplars")
}

// The rules pass their tests, and promtool accepts the names of the metrics.
func TestPromtool(t *testing.T) {
	full.Only(t)
	t.Parallel()
	promtool := rig.Need(t, "promtool", "prometheus")
	check := exec.Command(promtool, "test", "rules", "alerts_test.yml")
	check.Dir = "../../deploy/prometheus"
	said, err := check.CombinedOutput()
	require.NoError(t, err, "%s", said)
	rules, err := os.ReadFile("../../deploy/prometheus/alerts.yml")
	require.NoError(t, err)
	tests, err := os.ReadFile("../../deploy/prometheus/alerts_test.yml")
	require.NoError(t, err)
	for _, alert := range regexp.MustCompile(`alert: (\w+)`).FindAllSubmatch(rules, -1) {
		require.Contains(t, string(tests), string(alert[1])+" fires")
		require.Contains(t, string(tests), string(alert[1])+" keeps quiet")
	}

	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s)).Ready()
	require.Equal(t, 200, u.Post("/generate", s.Ticket().Flat("")).Status)
	_, metrics := u.Get("/metrics")
	check = exec.Command(promtool, "check", "metrics")
	check.Stdin = strings.NewReader(metrics)
	said, err = check.CombinedOutput()
	require.NoError(t, err, "%s", said)
	require.Empty(t, strings.TrimSpace(string(said)))
}
