package test

import (
	"net/http"
	"net/http/httptest"
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
