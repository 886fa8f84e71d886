package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Every row of the answers table, on the built binary.
func TestAnswers(t *testing.T) {
	t.Parallel()
	s, other := newSigner(t), newSigner(t)
	m := newModel(t, nil)
	u := start(t, settings(m, s).with(env{"USHER_MAX_BODY_BYTES": "4096", "USHER_REPLAY_WINDOW": "100"})).ready()
	const prompt = "zebra"
	const inputs = `"inputs":"` + prompt + `"`

	good := s.numbered(1000)
	require.Equal(t, 200, u.post("/generate", good.flat(inputs)).status)
	fresh := func() ticket { s.next.CompareAndSwap(0, 1000); return s.ticket() }

	post := func(b []byte) func(string) answer {
		return func(path string) answer { return u.post(path, b) }
	}
	tests := []struct {
		name   string
		send   func(path string) answer
		status int
		code   string
		header string // a header that must be there, "Name: value"
	}{
		{"unknown route", func(string) answer { return u.post("/admin", fresh().flat(inputs)) }, 404, "route_unknown", ""},
		{"route with a slash more", func(string) answer { return u.post("/generate/", fresh().flat(inputs)) }, 404, "route_unknown", ""},
		{"route encoded", func(string) answer { return u.post("/%67enerate", fresh().flat(inputs)) }, 404, "route_unknown", ""},
		{"GET", func(p string) answer { return u.do("GET", p, nil, nil) }, 405, "method_not_allowed", "Allow: POST"},
		{"OPTIONS", func(p string) answer { return u.do("OPTIONS", p, nil, nil) }, 405, "method_not_allowed", "Allow: POST"},
		{"gzip", func(p string) answer {
			return u.do("POST", p, fresh().flat(inputs), http.Header{"Content-Encoding": {"gzip"}})
		}, 415, "unsupported_encoding", ""},
		{"too large", post(fresh().flat(`"inputs":"` + strings.Repeat("x", 5000) + `"`)), 413, "body_too_large", ""},
		{"not JSON", post([]byte("hello")), 400, "invalid_json", ""},
		{"empty", post(nil), 400, "invalid_json", ""},
		{"array", post([]byte("[1]")), 400, "invalid_json", ""},
		{"trailing bytes", post(append(fresh().flat(inputs), "{}"...)), 400, "invalid_json", ""},
		{"duplicate member", post(fresh().flat(`"inputs":"a","inputs":"b"`)), 400, "invalid_json", ""},
		{"duplicate by escape", post(fresh().flat(inputs + `,"\u0063ost":1`)), 400, "invalid_json", ""},
		{"duplicate limit", post(fresh().flat(inputs + `,"parameters":{"max_new_tokens":1,"max_new_tokens":2},"max_tokens":1`)), 400, "invalid_json", ""},
		{"too deep", post(fresh().flat(`"x":` + strings.Repeat("[", 512) + strings.Repeat("]", 512))), 400, "invalid_json", ""},
		{"no ticket", post([]byte(`{"inputs":"zebra"}`)), 422, "invalid_ticket", ""},
		{"auth_data no object", post([]byte(`{"auth_data":1,"payload":{}}`)), 422, "invalid_ticket", ""},
		{"payload missing", post([]byte(`{"auth_data":{` + fresh().members() + `}}`)), 422, "invalid_ticket", ""},
		{"reqnum as float", post(fresh().with("reqnum", "14395.0").flat(inputs)), 422, "invalid_ticket", ""},
		{"reqnum negative zero", post(fresh().with("reqnum", "-0").flat(inputs)), 422, "invalid_ticket", ""},
		{"cost negative", post(fresh().with("cost", "-1").flat(inputs)), 422, "invalid_ticket", ""},
		{"cost infinite", post(fresh().with("cost", "1e999").flat(inputs)), 422, "invalid_ticket", ""},
		{"another endpoint", post(fresh().with("endpoint", `"other"`).flat(inputs)), 403, "endpoint_mismatch", "X-Should-Retry: false"},
		{"another worker", post(fresh().with("url", `"http://203.0.113.8:3000"`).flat(inputs)), 403, "url_mismatch", "X-Should-Retry: false"},
		{"replay", post(good.flat(inputs)), 409, "reqnum_replayed", "X-Should-Retry: false"},
		{"stale", post(s.numbered(900).flat(inputs)), 409, "reqnum_stale", "X-Should-Retry: false"},
		{"signed by another key", post(other.numbered(1050).flat(inputs)), 401, "bad_signature", "WWW-Authenticate: SignedRoute"},
		{"cost changed", post(s.numbered(1051).with("cost", "257").flat(inputs)), 401, "bad_signature", "X-Should-Retry: false"},
		{"signature not base64", post(s.numbered(1052).with("signature", `"*"`).flat(inputs)), 401, "bad_signature", ""},
		{"signature empty", post(s.numbered(1053).with("signature", `""`).flat(inputs)), 401, "bad_signature", ""},
		{"signature no string", post(s.numbered(1054).with("signature", `1`).flat(inputs)), 422, "invalid_ticket", ""},
	}
	before := len(m.arrivals())
	for _, tt := range tests {
		for _, path := range []string{"/generate", "/v1/chat/completions"} {
			if tt.name == "duplicate limit" && path != "/generate" {
				continue // these members are the limits of /generate alone
			}
			t.Run(tt.name+path, func(t *testing.T) {
				got := tt.send(path)
				require.Equal(t, tt.status, got.status, got.body)
				require.Equal(t, tt.code, got.code(), got.body)
				require.Equal(t, tt.code, got.header.Get("X-Usher-Refusal"))
				require.NotEmpty(t, got.header.Get("X-Request-Id"))
				require.NotContains(t, got.body, prompt)
				if tt.header != "" {
					name, value, _ := strings.Cut(tt.header, ": ")
					require.Equal(t, value, got.header.Get(name))
				}
			})
		}
	}
	require.Len(t, m.arrivals(), before, "a refused request reached the model server")
	// None of it has used up a number or moved the window.
	require.Equal(t, 200, u.post("/generate", s.numbered(1051).flat(inputs)).status)
}

func TestAllFaultsOfATicketInOneAnswer(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	u := start(t, settings(newModel(t, nil), s))
	got := u.post("/generate", []byte(`{"cost":"a","reqnum":-1,"url":3}`))
	require.Equal(t, 422, got.status)
	for _, member := range []string{"cost", "reqnum", "url", "endpoint", "signature"} {
		require.Contains(t, got.body, member)
	}
}

func TestKeyUnavailable(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	keyServer := newModel(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	more := env{"USHER_PUBLIC_KEY": "", "USHER_PUBLIC_KEY_URL": keyServer.URL + "/pubkey/"}
	u := start(t, settings(newModel(t, nil), s).with(more))
	got := u.post("/generate", s.ticket().flat(""))
	require.Equal(t, 503, got.status)
	require.Equal(t, "key_unavailable", got.code())
	require.NotEmpty(t, got.header.Get("Retry-After"))
	status, body := u.get("/readyz")
	require.Equal(t, 503, status)
	require.Contains(t, body, "key")
}

func TestCostEnforced(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	m := newModel(t, nil)
	u := start(t, settings(m, s).with(env{"USHER_COST_POLICY": "enforce"})).ready()
	tests := []struct {
		path, model string
		status      int
		forwarded   string
	}{
		{"/generate", `"parameters":{"max_new_tokens":257}`, 403, ""},
		{"/generate", `"parameters":{"max_new_tokens":256}`, 200, `{"parameters":{"max_new_tokens":256}}`},
		{"/generate", `"parameters":{"max_new_tokens":100,"best_of":3}`, 403, ""},
		{"/generate", `"parameters":{"max_new_tokens":-1}`, 422, ""},
		{"/generate", `"parameters":{"max_new_tokens":1.5}`, 422, ""},
		{"/generate", `"parameters":{"max_new_tokens":1,"max_new_tokens":2}`, 422, ""},
		{"/generate", `"inputs":"a"`, 200, `"max_new_tokens":256`},
		{"/generate", `"parameters":{"best_of":3}`, 200, `"max_new_tokens":85`},
		{"/v1/completions", `"prompt":"a"`, 200, `"max_tokens":256`},
		{"/v1/chat/completions", `"n":2`, 200, `"max_completion_tokens":128`},
		{"/v1/chat/completions", `"max_tokens":1,"max_completion_tokens":300`, 403, ""},
		{"/v1/chat/completions", `"n":257`, 403, ""},
	}
	for i, tt := range tests {
		t.Run(fmt.Sprint(i, tt.path), func(t *testing.T) {
			got := u.post(tt.path, s.ticket().flat(tt.model))
			require.Equal(t, tt.status, got.status, got.body)
			if tt.status == 200 {
				seen := m.arrivals()
				require.Contains(t, seen[len(seen)-1].body, tt.forwarded)
			}
		})
	}
	require.Positive(t, u.metric("usher_cost_exceeded_total"))
}

func TestQueueFullAndTimeout(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	release := make(chan struct{})
	m := newModel(t, func(http.ResponseWriter, *http.Request) { <-release })
	u := start(t, settings(m, s).with(env{
		"USHER_MAX_CONCURRENCY": "1", "USHER_QUEUE_CAPACITY": "1", "USHER_QUEUE_TIMEOUT": "300ms",
	})).ready()
	done := make(chan answer, 2)
	first, second, third := s.ticket(), s.ticket(), s.ticket()
	go func() { done <- u.post("/generate", first.flat("")) }()
	require.Eventually(t, func() bool { return len(m.arrivals()) == 1 }, patience, time.Millisecond)
	go func() { done <- u.post("/generate", second.flat("")) }()
	require.Eventually(t, func() bool { return u.metric("usher_waiting") == 1 }, patience, time.Millisecond)

	got := u.post("/generate", third.flat(""))
	require.Equal(t, 429, got.status)
	require.Equal(t, "queue_full", got.code())
	require.NotEmpty(t, got.header.Get("Retry-After"))

	got = <-done
	require.Equal(t, 429, got.status)
	require.Equal(t, "queue_timeout", got.code())
	require.NotContains(t, u.waitLine(`"outcome":"queue_timeout"`), `"queue_ms":0,`, "the log tells how long it waited")
	close(release)
	require.Equal(t, 200, (<-done).status)
	// Both that were refused are still good.
	require.Equal(t, 200, u.post("/generate", second.flat("")).status)
	require.Equal(t, 200, u.post("/generate", third.flat("")).status)
}
