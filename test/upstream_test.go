package test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A model server that wants a key wants it of the probe, too.
func TestProbeCarriesTheModelServersKey(t *testing.T) {
	t.Parallel()
	const key = "Bearer for the model server"
	m := newModel(t, nil)
	strict := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != key || len(r.Header.Values("Authorization")) != 1 {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		m.serve(w, r)
	}))
	t.Cleanup(strict.Close)
	s := newSigner(t)
	u := start(t, settings(m, s).with(env{"USHER_UPSTREAM_URL": strict.URL, "USHER_UPSTREAM_AUTHORIZATION": key})).ready()
	require.Equal(t, 200, u.post("/generate", s.ticket().flat("")).status)
	for _, line := range u.log() {
		require.NotContains(t, line, "for the model server")
	}
}

// A model server that dies is noticed within 3 s of the first request that finds
// it so, or of the first probe, with the default interval.
func TestDeadModelServerIsNoticed(t *testing.T) {
	t.Parallel()
	m := newModel(t, nil)
	s := newSigner(t)
	u := start(t, settings(m, s).with(env{"USHER_HEALTH_INTERVAL": "5s"})).ready()
	m.CloseClientConnections()
	_ = m.Listener.Close()
	began := time.Now()
	require.Equal(t, 502, u.post("/generate", s.ticket().flat("")).status)
	u.waitLine(`"model server is not healthy"`)
	require.Less(t, time.Since(began), 3*time.Second)
	status, _ := u.get("/readyz")
	require.Equal(t, 503, status)
}

// An answer that the model server refused or failed with is passed on as it came,
// and accounted for as what it is.
func TestModelServersOwnErrorsAreTold(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	m := newModel(t, func(w http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(r.Header.Get("X-Status"))
		w.WriteHeader(status)
	})
	u := start(t, settings(m, s)).ready()
	for status, outcome := range map[int]string{
		200: "ok", 307: "ok", 400: "upstream_refused", 403: "upstream_refused", 429: "upstream_refused", 500: "upstream_error", 503: "upstream_error",
	} {
		id := "told-" + itoa(status)
		got := u.do("POST", "/generate", s.ticket().flat(""), http.Header{"X-Status": {itoa(status)}, "X-Request-Id": {id}})
		require.Equal(t, status, got.status)
		require.Empty(t, got.header.Get("X-Usher-Refusal"))
		line := u.waitLine(id)
		require.Contains(t, line, `"outcome":"`+outcome+`"`)
		require.Contains(t, line, `"status":`+itoa(status))
	}
	for outcome, n := range map[string]float64{"ok": 2, "upstream_refused": 3, "upstream_error": 2} {
		require.Equal(t, n, u.metric(`usher_requests_total{outcome="`+outcome+`",route="/generate"}`), outcome)
	}
}
