package engine

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// The metrics of a real engine are read: Usher gives out as many slots as the engine
// has, so that requests queue here and not there, its metrics are shown, and a request
// that bypasses Usher counts as an orphan.
func TestRealEngineIsRead(t *testing.T) {
	t.Parallel()
	engine := newRealEngine(t)
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Env{
		"USHER_ENDPOINT": rig.Endpoint, "USHER_WORKER_URL": rig.URL, "USHER_PUBLIC_KEY": s.Public(),
		"USHER_ENGINE": "llamacpp", "USHER_UPSTREAM_URL": engine.url,
	}).Ready()
	const clients, slots = 10, 4
	u.WaitMetric("usher_slots", slots) // as many slots as the engine states

	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	for range clients {
		go ask(ctx, "http://"+u.Public, string(s.Ticket().Nested(endless)))
	}
	u.WaitMetric("usher_engine_running", slots)  // the engine runs as many as it has slots
	u.WaitMetric("usher_waiting", clients-slots) // the others wait here
	for range 20 {
		require.Zero(t, engine.figure("requests_deferred"), "requests must queue in Usher, not in the engine")
		require.EqualValues(t, slots, engine.figure("requests_processing"))
	}
	require.Zero(t, u.Metric("usher_engine_waiting"))
	leave()
	u.WaitMetric("usher_engine_running", 0) // all have left

	around, leaveToo := context.WithCancel(t.Context())
	defer leaveToo()
	go ask(around, engine.url, endless)
	u.WaitMetric("usher_engine_orphans", 1) // one of whom nothing is known here
	require.Zero(t, u.Metric("usher_in_flight"))
	leaveToo()
	u.WaitMetric("usher_engine_orphans", 0) // the orphan is gone
}

const endless = `{"messages":[{"role":"user","content":"Go on"}],"stream":true,"max_tokens":8000}`

// ask reads an answer until it ends or ctx does.
func ask(ctx context.Context, base, body string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
}
