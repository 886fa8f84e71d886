package engine

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// More clients than the engine has slots all leave: the engine keeps none of their
// requests, neither those it was answering nor those it had deferred.
func TestRealEngineStops(t *testing.T) {
	t.Parallel()
	play(t, stops)
}

func stops(t testing.TB) {
	engine := newRealEngine(t)
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Env{
		"USHER_ENDPOINT": rig.Endpoint, "USHER_WORKER_URL": rig.URL, "USHER_PUBLIC_KEY": s.Public(), "USHER_ENGINE": "llamacpp",
		"USHER_UPSTREAM_URL": engine.url, "USHER_MAX_CONCURRENCY": "8",
	}).Ready()
	const clients, slots = 8, 4
	ctx, leave := context.WithCancel(t.Context())
	for range clients {
		go ask(ctx, "http://"+u.Public, string(s.Ticket().Nested(endless)))
	}
	require.Eventually(t, func() bool {
		return engine.figure("requests_processing") == slots && engine.figure("requests_deferred") == clients-slots
	}, rig.Patience, 10*time.Millisecond, "the engine is not full")
	working := engine.processor(t)
	require.Positive(t, working)

	leave()
	left := time.Now().UnixMilli()
	for _, a := range engine.wait(t, clients) {
		require.True(t, a.Stopped)
		require.Less(t, a.Tokens, 8000)
		t.Logf("stopped after %d tokens, %d ms after its client left", a.Tokens, a.At-left)
	}
	require.Zero(t, engine.figure("requests_processing"))
	require.Zero(t, engine.figure("requests_deferred"))
	made := engine.figure("tokens_predicted_total")
	before, began := engine.processor(t), time.Now()
	time.Sleep(300 * time.Millisecond) // what would go on, would show
	watch := time.Since(began)
	spent := engine.processor(t) - before
	require.Equal(t, made, engine.figure("tokens_predicted_total"))
	require.Less(t, spent, watch/2, "the engine is busy although it reports no requests")
}

// figure reads one of the engine's metrics; -1 if it has no such metric.
func (e *realEngine) figure(name string) float64 {
	resp, err := http.Get(e.url + "/metrics")
	if err != nil {
		return -1
	}
	defer func() { _ = resp.Body.Close() }()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "llamacpp:"+name+" "); ok {
			if f, err := strconv.ParseFloat(value, 64); err == nil {
				return f
			}
		}
	}
	return -1
}

// processor returns the processor time that the engine's process has used.
func (e *realEngine) processor(t testing.TB) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", e.cmd.Process.Pid))
	require.NoError(t, err)
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var user, system int64
	_, err = fmt.Sscan(fields[11]+" "+fields[12], &user, &system)
	require.NoError(t, err)
	return time.Duration(user+system) * 10 * time.Millisecond // of a hundred ticks a second
}
