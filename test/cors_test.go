package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// Browsers are answered before any check, and see errors and streams.
func TestCORSEverywhere(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	m := newModel(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		_, _ = io.WriteString(w, "ok")
	})
	for allowed, want := range map[string]string{"*": "*", "https://a.example, https://b.example": "https://b.example"} {
		u := start(t, settings(m, s).with(env{"USHER_CORS_ORIGINS": allowed})).ready()
		origin := http.Header{"Origin": {"https://b.example"}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"authorization, content-type"}}
		for _, path := range []string{"/generate", "/nowhere", "/health"} {
			got := u.do("OPTIONS", path, nil, origin)
			require.Equal(t, 204, got.status)
			require.Equal(t, []string{want}, got.header.Values("Access-Control-Allow-Origin"))
			require.Contains(t, got.header.Get("Access-Control-Allow-Methods"), "POST")
			require.Contains(t, got.header.Get("Access-Control-Allow-Headers"), "authorization")
		}
		for name, got := range map[string]answer{
			"relayed": u.do("POST", "/generate", s.ticket().flat(""), origin), "refused": u.do("POST", "/generate", []byte("{}"), origin),
			"unknown": u.do("POST", "/nowhere", nil, origin), "ping": u.do("GET", "/ping", nil, origin), "health": u.do("GET", "/health", nil, origin),
		} {
			require.Equal(t, []string{want}, got.header.Values("Access-Control-Allow-Origin"), name)
		}
		stranger := http.Header{"Origin": {"https://c.example"}, "Access-Control-Request-Method": {"POST"}}
		if want != "*" {
			for _, got := range []answer{u.do("OPTIONS", "/generate", nil, stranger), u.do("POST", "/generate", s.ticket().flat(""), stranger)} {
				require.Empty(t, got.header.Values("Access-Control-Allow-Origin"))
				require.Contains(t, got.header.Values("Vary"), "Origin")
			}
		}
	}
	require.Len(t, m.arrivals(), 3)
	for _, in := range m.arrivals() {
		require.NotContains(t, in.header, "Origin", "several model servers refuse origins of their own accord")
	}
}

// Without CORS of Usher's, Origin is a field like any other.
func TestOriginPassesWhereCORSIsTheModelServers(t *testing.T) {
	t.Parallel()
	s, m := newSigner(t), newModel(t, nil)
	u := start(t, settings(m, s)).ready()
	require.Equal(t, 200, u.do("POST", "/generate", s.ticket().flat(""), http.Header{"Origin": {"https://a.example"}}).status)
	require.Equal(t, []string{"https://a.example"}, m.arrivals()[0].header["Origin"])
}

// A wildcard stands for one label or more, and for nothing else; a page of a
// public network is let through to a private one; and its script can read every
// field of an answer, whoever wrote it.
func TestCORSWildcardPrivateNetworkAndExposedFields(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	m := newModel(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Compute-Time", "12")
		w.Header().Set("Access-Control-Expose-Headers", "X-Elsewhere")
		_, _ = io.WriteString(w, "ok")
	})
	u := start(t, settings(m, s).with(env{"USHER_CORS_ORIGINS": "https://*.example.com, https://*.example.org:8443,http://localhost:3000"})).ready()
	for origin, allowed := range map[string]bool{
		"https://a.example.com": true, "https://a-1.b.example.com": true, "http://localhost:3000": true, "https://x.example.org:8443": true,
		"https://example.com": false, "https://.example.com": false, "https://a..example.com": false, "http://a.example.com": false,
		"https://a.example.com:8443": false, "https://a.example.com.evil.test": false, "https://evilexample.com": false,
		"https://evil.test/.example.com": false, "https://evil.test:1.example.com": false, "https://u@.example.com": false,
		"https://x.example.org": false, "null": false, "https://*.example.com": false,
	} {
		ask := http.Header{"Origin": {origin}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Private-Network": {"true"}}
		preflight := u.do("OPTIONS", "/generate", nil, ask)
		require.Equal(t, 204, preflight.status)
		refused := u.do("POST", "/generate", []byte("{}"), http.Header{"Origin": {origin}})
		for _, got := range []answer{preflight, refused} {
			if allowed {
				require.Equal(t, []string{origin}, got.header.Values("Access-Control-Allow-Origin"), origin)
			} else {
				require.Empty(t, got.header.Values("Access-Control-Allow-Origin"), origin)
			}
		}
		require.Equal(t, map[bool]string{true: "true", false: ""}[allowed], preflight.header.Get("Access-Control-Allow-Private-Network"), origin)
	}
	plain := u.do("OPTIONS", "/generate", nil, http.Header{"Origin": {"https://a.example.com"}})
	require.Empty(t, plain.header.Values("Access-Control-Allow-Private-Network"), "nobody asked")

	got := u.do("POST", "/generate", s.ticket().flat(""), http.Header{"Origin": {"https://a.example.com"}})
	require.Equal(t, 200, got.status)
	require.Len(t, got.header.Values("Access-Control-Expose-Headers"), 1)
	for _, name := range []string{"X-Request-Id", "X-Usher-Refusal", "Retry-After", "Server-Timing", "X-Compute-Time", "Content-Type", "Date"} {
		require.Contains(t, ", "+got.header.Get("Access-Control-Expose-Headers")+",", ", "+name+",")
	}
}

// What a request line of the log holds.
func TestLogLine(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	u := start(t, settings(newModel(t, nil), s)).ready()
	got := u.do("POST", "/generate?api_key=hidden", s.ticket().flat(`"inputs":"zebra"`), http.Header{"X-Request-Id": {"log-1"}, "Authorization": {"Bearer hidden"}})
	require.Equal(t, 200, got.status)
	u.do("POST", "/generate?api_key=hidden", []byte(`{"inputs":"zebra"}`), http.Header{"X-Request-Id": {"log-2"}})
	for id, outcome := range map[string]string{"log-1": "ok", "log-2": "invalid_ticket"} {
		line := u.waitLine(id)
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
	for _, line := range u.log() {
		require.NotContains(t, line, "zebra")
		require.NotContains(t, line, "hidden")
	}
}
