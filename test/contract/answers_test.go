package contract

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// The built binary gives every answer in the table of answers.
func TestAnswers(t *testing.T) {
	t.Parallel()
	s, other := rig.NewSigner(t), rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_MAX_BODY_BYTES": "4096", "USHER_REPLAY_WINDOW": "100"})).Ready()
	const prompt = "zebra"
	const inputs = `"inputs":"` + prompt + `"`

	good := s.Numbered(1000)
	require.Equal(t, 200, u.Post("/generate", good.Flat(inputs)).Status)
	fresh := func() rig.Ticket { s.Next.CompareAndSwap(0, 1000); return s.Ticket() }

	post := func(b []byte) func(string) rig.Answer {
		return func(path string) rig.Answer { return u.Post(path, b) }
	}
	tests := []struct {
		name   string
		send   func(path string) rig.Answer
		status int
		code   string
		header string // a header that must be there, "Name: value"
	}{
		{"unknown route", func(string) rig.Answer { return u.Post("/admin", fresh().Flat(inputs)) }, 404, "route_unknown", ""},
		{"route with a slash more", func(string) rig.Answer { return u.Post("/generate/", fresh().Flat(inputs)) }, 404, "route_unknown", ""},
		{"route encoded", func(string) rig.Answer { return u.Post("/%67enerate", fresh().Flat(inputs)) }, 404, "route_unknown", ""},
		{"GET", func(p string) rig.Answer { return u.Do("GET", p, nil, nil) }, 405, "method_not_allowed", "Allow: POST"},
		{"OPTIONS", func(p string) rig.Answer { return u.Do("OPTIONS", p, nil, nil) }, 405, "method_not_allowed", "Allow: POST"},
		{"gzip", func(p string) rig.Answer {
			return u.Do("POST", p, fresh().Flat(inputs), http.Header{"Content-Encoding": {"gzip"}})
		}, 415, "unsupported_encoding", ""},
		{"too large", post(fresh().Flat(`"inputs":"` + strings.Repeat("x", 5000) + `"`)), 413, "body_too_large", ""},
		{"not JSON", post([]byte("hello")), 400, "invalid_json", ""},
		{"empty", post(nil), 400, "invalid_json", ""},
		{"array", post([]byte("[1]")), 400, "invalid_json", ""},
		{"trailing bytes", post(append(fresh().Flat(inputs), "{}"...)), 400, "invalid_json", ""},
		{"duplicate member", post(fresh().Flat(`"inputs":"a","inputs":"b"`)), 400, "invalid_json", ""},
		{"duplicate by escape", post(fresh().Flat(inputs + `,"\u0063ost":1`)), 400, "invalid_json", ""},
		{"duplicate limit", post(fresh().Flat(inputs + `,"parameters":{"max_new_tokens":1,"max_new_tokens":2},"max_tokens":1`)), 400, "invalid_json", ""},
		{"too deep", post(fresh().Flat(`"x":` + strings.Repeat("[", 512) + strings.Repeat("]", 512))), 400, "invalid_json", ""},
		{"no ticket", post([]byte(`{"inputs":"zebra"}`)), 422, "invalid_ticket", ""},
		{"auth_data no object", post([]byte(`{"auth_data":1,"payload":{}}`)), 422, "invalid_ticket", ""},
		{"payload missing", post([]byte(`{"auth_data":{` + fresh().Members() + `}}`)), 422, "invalid_ticket", ""},
		{"reqnum as float", post(fresh().With("reqnum", "14395.0").Flat(inputs)), 422, "invalid_ticket", ""},
		{"reqnum negative zero", post(fresh().With("reqnum", "-0").Flat(inputs)), 422, "invalid_ticket", ""},
		{"cost negative", post(fresh().With("cost", "-1").Flat(inputs)), 422, "invalid_ticket", ""},
		{"cost infinite", post(fresh().With("cost", "1e999").Flat(inputs)), 422, "invalid_ticket", ""},
		{"another endpoint", post(fresh().With("endpoint", `"other"`).Flat(inputs)), 403, "endpoint_mismatch", "X-Should-Retry: false"},
		{"another worker", post(fresh().With("url", `"http://203.0.113.8:3000"`).Flat(inputs)), 403, "url_mismatch", "X-Should-Retry: false"},
		{"replay", post(good.Flat(inputs)), 409, "reqnum_replayed", "X-Should-Retry: false"},
		{"stale", post(s.Numbered(900).Flat(inputs)), 409, "reqnum_stale", "X-Should-Retry: false"},
		{"signed by another key", post(other.Numbered(1050).Flat(inputs)), 401, "bad_signature", "WWW-Authenticate: SignedRoute"},
		{"cost changed", post(s.Numbered(1051).With("cost", "257").Flat(inputs)), 401, "bad_signature", "X-Should-Retry: false"},
		{"signature not base64", post(s.Numbered(1052).With("signature", `"*"`).Flat(inputs)), 401, "bad_signature", ""},
		{"signature empty", post(s.Numbered(1053).With("signature", `""`).Flat(inputs)), 401, "bad_signature", ""},
		{"signature no string", post(s.Numbered(1054).With("signature", `1`).Flat(inputs)), 422, "invalid_ticket", ""},
	}
	before := len(m.Arrivals())
	for _, tt := range tests {
		for _, path := range []string{"/generate", "/v1/chat/completions"} {
			if tt.name == "duplicate limit" && path != "/generate" {
				continue // these members are the limits of /generate alone
			}
			t.Run(tt.name+path, func(t *testing.T) {
				got := tt.send(path)
				require.Equal(t, tt.status, got.Status, got.Body)
				require.Equal(t, tt.code, got.Code(), got.Body)
				require.Equal(t, tt.code, got.Header.Get("X-Usher-Refusal"))
				require.NotEmpty(t, got.Header.Get("X-Request-Id"))
				date, err := http.ParseTime(got.Header.Get("Date"))
				require.NoError(t, err)
				require.WithinDuration(t, time.Now(), date, rig.Patience)
				require.NotContains(t, got.Body, prompt)
				if tt.header != "" {
					name, value, _ := strings.Cut(tt.header, ": ")
					require.Equal(t, value, got.Header.Get(name))
				}
			})
		}
	}
	require.Len(t, m.Arrivals(), before, "a refused request reached the model server")
	// None of these spent a number or moved the window.
	require.Equal(t, 200, u.Post("/generate", s.Numbered(1051).Flat(inputs)).Status)
}

func TestAllFaultsOfATicketInOneAnswer(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s))
	got := u.Post("/generate", []byte(`{"cost":"a","reqnum":-1,"url":3}`))
	require.Equal(t, 422, got.Status)
	for _, member := range []string{"cost", "reqnum", "url", "endpoint", "signature"} {
		require.Contains(t, got.Body, member)
	}
}

func TestKeyUnavailable(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	keyServer := rig.NewModel(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	more := rig.Env{"USHER_PUBLIC_KEY": "", "USHER_PUBLIC_KEY_URL": keyServer.URL + "/pubkey/"}
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s).With(more))
	got := u.Post("/generate", s.Ticket().Flat(""))
	require.Equal(t, 503, got.Status)
	require.Equal(t, "key_unavailable", got.Code())
	require.NotEmpty(t, got.Header.Get("Retry-After"))
	u.WaitLine("public key not refreshed; there is none yet")
	status, body := u.Get("/readyz")
	require.Equal(t, 503, status)
	require.Contains(t, body, "key")
}

func TestCostEnforced(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_COST_POLICY": "enforce"})).Ready()
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
			got := u.Post(tt.path, s.Ticket().Flat(tt.model))
			require.Equal(t, tt.status, got.Status, got.Body)
			if tt.status == 200 {
				seen := m.Arrivals()
				require.Contains(t, seen[len(seen)-1].Body, tt.forwarded)
			}
		})
	}
	require.Positive(t, u.Metric("usher_cost_exceeded_total"))
}

func TestQueueFullAndTimeout(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	release := make(chan struct{})
	m := rig.NewModel(t, func(http.ResponseWriter, *http.Request) { <-release })
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{
		"USHER_MAX_CONCURRENCY": "1", "USHER_QUEUE_CAPACITY": "1", "USHER_QUEUE_TIMEOUT": "2s",
	})).Ready()
	done := make(chan rig.Answer, 2)
	first, second, third := s.Ticket(), s.Ticket(), s.Ticket()
	go func() { done <- u.Post("/generate", first.Flat("")) }()
	require.Eventually(t, func() bool { return len(m.Arrivals()) == 1 }, rig.Patience, time.Millisecond)
	go func() { done <- u.Post("/generate", second.Flat("")) }()
	u.WaitMetric("usher_waiting", 1)

	got := u.Post("/generate", third.Flat(""))
	require.Equal(t, 429, got.Status)
	require.Equal(t, "queue_full", got.Code())
	require.NotEmpty(t, got.Header.Get("Retry-After"))

	got = <-done
	require.Equal(t, 429, got.Status)
	require.Equal(t, "queue_timeout", got.Code())
	require.NotContains(t, u.WaitLine(`"outcome":"queue_timeout"`), `"queue_ms":0,`, "the log tells how long it waited")
	close(release)
	require.Equal(t, 200, (<-done).Status)
	// Both refused tickets are still good.
	require.Equal(t, 200, u.Post("/generate", second.Flat("")).Status)
	require.Equal(t, 200, u.Post("/generate", third.Flat("")).Status)
}
