package contract

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// Preflights are answered before any check, and pages can read errors and streams.
func TestCORSEverywhere(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		_, _ = io.WriteString(w, "ok")
	})
	for allowed, want := range map[string]string{"*": "*", "https://a.example, https://b.example": "https://b.example"} {
		u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_CORS_ORIGINS": allowed})).Ready()
		origin := http.Header{"Origin": {"https://b.example"}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"authorization, content-type"}}
		for _, path := range []string{"/generate", "/nowhere", "/health"} {
			got := u.Do("OPTIONS", path, nil, origin)
			require.Equal(t, 204, got.Status)
			require.Equal(t, []string{want}, got.Header.Values("Access-Control-Allow-Origin"))
			require.Contains(t, got.Header.Get("Access-Control-Allow-Methods"), "POST")
			require.Contains(t, got.Header.Get("Access-Control-Allow-Headers"), "authorization")
		}
		for name, got := range map[string]rig.Answer{
			"relayed": u.Do("POST", "/generate", s.Ticket().Flat(""), origin), "refused": u.Do("POST", "/generate", []byte("{}"), origin),
			"unknown": u.Do("POST", "/nowhere", nil, origin), "ping": u.Do("GET", "/ping", nil, origin), "health": u.Do("GET", "/health", nil, origin),
		} {
			require.Equal(t, []string{want}, got.Header.Values("Access-Control-Allow-Origin"), name)
		}
		stranger := http.Header{"Origin": {"https://c.example"}, "Access-Control-Request-Method": {"POST"}}
		if want != "*" {
			for _, got := range []rig.Answer{u.Do("OPTIONS", "/generate", nil, stranger), u.Do("POST", "/generate", s.Ticket().Flat(""), stranger)} {
				require.Empty(t, got.Header.Values("Access-Control-Allow-Origin"))
				require.Contains(t, got.Header.Values("Vary"), "Origin")
			}
		}
	}
	require.Len(t, m.Arrivals(), 3)
	for _, in := range m.Arrivals() {
		require.NotContains(t, in.Header, "Origin", "several model servers refuse origins of their own accord")
	}
}

// With Usher's CORS off, Origin is a field like any other.
func TestOriginPassesWhereCORSIsTheModelServers(t *testing.T) {
	t.Parallel()
	s, m := rig.NewSigner(t), rig.NewModel(t, nil)
	u := rig.Start(t, rig.Settings(m, s)).Ready()
	require.Equal(t, 200, u.Do("POST", "/generate", s.Ticket().Flat(""), http.Header{"Origin": {"https://a.example"}}).Status)
	require.Equal(t, []string{"https://a.example"}, m.Arrivals()[0].Header["Origin"])
}

// A wildcard stands for one label or more, and for nothing else; a page of a
// public network is let through to a private one; and its script can read every
// field of an answer, whoever wrote it.
func TestCORSWildcardPrivateNetworkAndExposedFields(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Compute-Time", "12")
		w.Header().Set("Access-Control-Expose-Headers", "X-Elsewhere")
		_, _ = io.WriteString(w, "ok")
	})
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_CORS_ORIGINS": "https://*.example.com, https://*.example.org:8443,http://localhost:3000"})).Ready()
	for origin, allowed := range map[string]bool{
		"https://a.example.com": true, "https://a-1.b.example.com": true, "http://localhost:3000": true, "https://x.example.org:8443": true,
		"https://example.com": false, "https://.example.com": false, "https://a..example.com": false, "http://a.example.com": false,
		"https://a.example.com:8443": false, "https://a.example.com.evil.test": false, "https://evilexample.com": false,
		"https://evil.test/.example.com": false, "https://evil.test:1.example.com": false, "https://u@.example.com": false,
		"https://x.example.org": false, "null": false, "https://*.example.com": false,
	} {
		ask := http.Header{"Origin": {origin}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Private-Network": {"true"}}
		preflight := u.Do("OPTIONS", "/generate", nil, ask)
		require.Equal(t, 204, preflight.Status)
		refused := u.Do("POST", "/generate", []byte("{}"), http.Header{"Origin": {origin}})
		for _, got := range []rig.Answer{preflight, refused} {
			if allowed {
				require.Equal(t, []string{origin}, got.Header.Values("Access-Control-Allow-Origin"), origin)
			} else {
				require.Empty(t, got.Header.Values("Access-Control-Allow-Origin"), origin)
			}
		}
		require.Equal(t, map[bool]string{true: "true", false: ""}[allowed], preflight.Header.Get("Access-Control-Allow-Private-Network"), origin)
	}
	plain := u.Do("OPTIONS", "/generate", nil, http.Header{"Origin": {"https://a.example.com"}})
	require.Empty(t, plain.Header.Values("Access-Control-Allow-Private-Network"), "the field is only for preflights that ask for it")

	got := u.Do("POST", "/generate", s.Ticket().Flat(""), http.Header{"Origin": {"https://a.example.com"}})
	require.Equal(t, 200, got.Status)
	require.Len(t, got.Header.Values("Access-Control-Expose-Headers"), 1)
	for _, name := range []string{"X-Request-Id", "X-Usher-Refusal", "Retry-After", "Server-Timing", "X-Compute-Time", "Content-Type", "Date"} {
		require.Contains(t, ", "+got.Header.Get("Access-Control-Expose-Headers")+",", ", "+name+",")
	}
}

// What a request's log line says.
func TestLogLine(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s)).Ready()
	got := u.Do("POST", "/generate?api_key=hidden", s.Ticket().Flat(`"inputs":"zebra"`), http.Header{"X-Request-Id": {"log-1"}, "Authorization": {"Bearer hidden"}})
	require.Equal(t, 200, got.Status)
	u.Do("POST", "/generate?api_key=hidden", []byte(`{"inputs":"zebra"}`), http.Header{"X-Request-Id": {"log-2"}})
	for id, outcome := range map[string]string{"log-1": "ok", "log-2": "invalid_ticket"} {
		line := u.WaitLine(id)
		var members map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &members))
		want := []string{"request_id", "client", "route", "outcome", "status", "hold_ms", "queue_ms", "ttfb_ms", "duration_ms", "bytes_in", "bytes_out"}
		if outcome == "ok" {
			want = append(want, "endpoint", "reqnum", "cost")
		}
		for _, name := range want {
			require.Contains(t, members, name)
		}
		require.Equal(t, outcome, members["outcome"])
		for name, value := range members {
			require.NotContains(t, fmt.Sprintf("%T", value), "map", name)
		}
	}
	for _, line := range u.Log() {
		require.NotContains(t, line, "zebra")
		require.NotContains(t, line, "hidden")
	}
}
