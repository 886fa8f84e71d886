package streams

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// A model server that requires a key gets it from the probe, too.
func TestProbeCarriesTheModelServersKey(t *testing.T) {
	t.Parallel()
	const key = "Bearer for the model server"
	m := rig.NewModel(t, nil)
	strict := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != key || len(r.Header.Values("Authorization")) != 1 {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		m.Serve(w, r)
	}))
	t.Cleanup(strict.Close)
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_UPSTREAM_URL": strict.URL, "USHER_UPSTREAM_AUTHORIZATION": key})).Ready()
	require.Equal(t, 200, u.Post("/generate", s.Ticket().Flat("")).Status)
	for _, line := range u.Log() {
		require.NotContains(t, line, "for the model server")
	}
}

// With the default interval, a dead model server is noticed within 3 s of the first
// request or probe that fails.
func TestDeadModelServerIsNoticed(t *testing.T) {
	t.Parallel()
	m := rig.NewModel(t, nil)
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_HEALTH_INTERVAL": "5s"})).Ready()
	m.CloseClientConnections()
	_ = m.Listener.Close()
	require.Equal(t, 502, u.Post("/generate", s.Ticket().Flat("")).Status)
	failed, noticed := timeOf(t, u, `"outcome":"upstream_unreachable"`), timeOf(t, u, `"model server is not healthy"`)
	require.Less(t, noticed.Sub(failed), 3*time.Second)
	status, _ := u.Get("/readyz")
	require.Equal(t, 503, status)
}

// timeOf returns when a line of the log was written.
func timeOf(t *testing.T, u *rig.Usher, text string) time.Time {
	t.Helper()
	var line struct{ Time time.Time }
	require.NoError(t, json.Unmarshal([]byte(u.WaitLine(text)), &line))
	return line.Time
}

// An answer with which the model server refuses or fails is forwarded as it came, and
// counted as what it is.
func TestModelServersOwnErrorsAreCounted(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, func(w http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(r.Header.Get("X-Status"))
		w.WriteHeader(status)
	})
	u := rig.Start(t, rig.Settings(m, s)).Ready()
	for status, outcome := range map[int]string{
		200: "ok", 307: "ok", 400: "upstream_refused", 403: "upstream_refused", 429: "upstream_refused", 500: "upstream_error", 503: "upstream_error",
	} {
		id := "told-" + rig.Itoa(status)
		got := u.Do("POST", "/generate", s.Ticket().Flat(""), http.Header{"X-Status": {rig.Itoa(status)}, "X-Request-Id": {id}})
		require.Equal(t, status, got.Status)
		require.Empty(t, got.Header.Get("X-Usher-Refusal"))
		line := u.WaitLine(id)
		require.Contains(t, line, `"outcome":"`+outcome+`"`)
		require.Contains(t, line, `"status":`+rig.Itoa(status))
	}
	for outcome, n := range map[string]float64{"ok": 2, "upstream_refused": 3, "upstream_error": 2} {
		require.Equal(t, n, u.Metric(`usher_requests_total{outcome="`+outcome+`",route="/generate"}`), outcome)
	}
}
