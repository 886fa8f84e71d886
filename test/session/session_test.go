package session

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/rig"
)

// withSessions returns the settings of a worker that allows so many sessions.
func withSessions(m *rig.Model, s *rig.Signer, most int) rig.Env {
	return rig.Settings(m, s).With(rig.Env{"USHER_MAX_SESSIONS": fmt.Sprint(most)})
}

// A session is what its client knows of it.
type session struct {
	u      *rig.Usher
	ticket rig.Ticket
	id     string
	opened opened
}

type opened struct {
	ID         string  `json:"session_id"`
	Expiration float64 `json:"expiration"`
}

// session opens a session with a ticket and terms.
func sessionOfUsher(u *rig.Usher, t rig.Ticket, terms string) session {
	u.T.Helper()
	got := u.Post("/session/create", t.Nested(terms))
	require.Equal(u.T, 201, got.Status, got.Body)
	s := session{u: u, ticket: t}
	require.NoError(u.T, json.Unmarshal([]byte(got.Body), &s.opened))
	s.id = s.opened.ID
	require.GreaterOrEqual(u.T, len(s.id), 22, "a session's ID must have at least 128 bits")
	return s
}

// body returns the body of a request in the session.
func (s session) body(payload string) []byte { return inSession(s.ticket, rig.Quote(s.id), payload) }

func inSession(t rig.Ticket, id, payload string) []byte {
	return []byte(`{"auth_data":{` + t.Members() + `},"session_id":` + id + `,"payload":` + payload + `}`)
}

// ask calls get, health or end for the session.
func (s session) ask(what string) rig.Answer {
	return s.u.Post("/session/"+what, claim(s.ticket, rig.Quote(s.id)))
}

func claim(t rig.Ticket, id string) []byte {
	return []byte(`{"session_id":` + id + `,"session_auth":{` + t.Members() + `}}`)
}

// bodies returns the bodies of the requests to a path that reached the model server.
func bodies(m *rig.Model, path string) (list []string) {
	for _, a := range m.Arrivals() {
		if a.Target == path {
			list = append(list, a.Body)
		}
	}
	return list
}

// The life of a session, with the requests that the usual client makes.
func TestSessionLife(t *testing.T) {
	t.Parallel()
	s, m := rig.NewSigner(t), rig.NewModel(t, nil)
	u := rig.Start(t, withSessions(m, s, 2).With(rig.Env{"USHER_UPSTREAM_AUTHORIZATION": "Bearer ours", "USHER_ROUTES": "/generate,/stop"})).Ready()
	tk := s.Ticket().With("status", `"READY"`) // clients give the autoscaler's whole answer back
	one := sessionOfUsher(u, tk, `{"lifetime":30,"on_close_route":"/stop","on_close_payload":{"why": 1e2, "x":"<&>"}}`)
	require.InDelta(t, float64(time.Now().UnixMilli())/1000+30, one.opened.Expiration, 5)
	require.Equal(t, "reqnum_replayed", u.Post("/generate", tk.Nested(`{}`)).Code(), "the ticket must be spent")
	require.Equal(t, "reqnum_replayed", u.Post("/session/create", tk.Nested(`{}`)).Code())

	for i := range 3 {
		payload := fmt.Sprintf(`{"inputs": "number %d"}`, i)
		got := u.Post("/generate", one.body(payload))
		require.Equal(t, 200, got.Status, got.Body)
		require.Equal(t, payload, bodies(m, "/generate")[i])
	}
	got := one.ask("get")
	require.Equal(t, 200, got.Status, got.Body)
	var view map[string]any
	require.NoError(t, json.Unmarshal([]byte(got.Body), &view))
	require.Equal(t, one.id, view["session_id"])
	require.EqualValues(t, 30, view["lifetime"])
	require.InDelta(t, one.opened.Expiration+3*30, view["expiration"], 0.001, "each request must prolong the session")
	require.InDelta(t, one.opened.Expiration-30, view["created_at"], 0.001)
	require.Equal(t, "/stop", view["on_close_route"])
	require.Contains(t, got.Body, `"auth_data":{`+tk.Members()+`}`, "as it was given")
	require.Contains(t, got.Body, `"on_close_payload":{"why": 1e2, "x":"<&>"}`)
	require.Equal(t, `{"ok":true}`, one.ask("health").Body)
	require.EqualValues(t, 1, u.Metric("usher_sessions"))

	require.Empty(t, bodies(m, "/stop"))
	require.JSONEq(t, `{"ended":true,"removed_session":`+rig.Quote(one.id)+`}`, one.ask("end").Body)
	require.Equal(t, []string{`{"why": 1e2, "x":"<&>"}`}, bodies(m, "/stop"), "the closing call must be made once, before the answer")
	for _, a := range m.Arrivals() {
		require.Equal(t, []string{"Bearer ours"}, a.Header["Authorization"])
		if a.Target == "/stop" {
			require.Equal(t, "POST", a.Method)
			require.Equal(t, []string{"application/json"}, a.Header["Content-Type"])
			require.Empty(t, a.Header["User-Agent"])
		}
	}
	for _, what := range []string{"end", "get"} {
		got := one.ask(what)
		require.Equal(t, 410, got.Status)
		require.Equal(t, "session_unknown", got.Code())
	}
	require.Equal(t, `{"ok":false}`, one.ask("health").Body)
	require.Equal(t, 410, u.Post("/generate", one.body(`{}`)).Status)
	require.Len(t, bodies(m, "/stop"), 1)
	require.EqualValues(t, 0, u.Metric("usher_sessions"))
	require.EqualValues(t, 3, u.Metric("usher_session_requests_total"))
	require.EqualValues(t, 1, u.Metric(`usher_session_ends_total{cause="closed"}`))
	require.EqualValues(t, 1, u.Metric(`usher_session_closings_total{outcome="ok"}`))
	require.EqualValues(t, 1, u.Metric(`usher_requests_total{outcome="ok",route="/session/create"}`))
	for _, line := range u.Log() {
		require.NotContains(t, line, one.id)
	}
}

// Without the setting there are no such paths, and a session_id is a member like any
// other.
func TestSessionsAreOff(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s)).Ready()
	require.Equal(t, "route_unknown", u.Post("/session/create", s.Ticket().Nested(`{}`)).Code())
	tk := s.Ticket()
	require.Equal(t, 200, u.Post("/generate", inSession(tk, `"abc"`, `{}`)).Status)
	require.Equal(t, "reqnum_replayed", u.Post("/generate", inSession(tk, `"abc"`, `{}`)).Code())
}

// A session_id of null is none. One that is unknown, has ended, or belongs to another
// ticket gets the same answer.
func TestSessionUnknown(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, withSessions(rig.NewModel(t, nil), s, 8)).Ready()
	require.Equal(t, 200, u.Post("/generate", inSession(s.Ticket(), "null", `{}`)).Status)
	one, other := sessionOfUsher(u, s.Ticket(), `{}`), sessionOfUsher(u, s.Ticket(), `{}`)
	over := sessionOfUsher(u, s.Ticket(), `{}`)
	require.Equal(t, 200, over.ask("end").Status)
	header := http.Header{"X-Request-Id": {"same"}}
	ask := func(path string, body []byte) (text string) {
		got := u.Do("POST", path, body, header)
		require.Equal(t, 410, got.Status, got.Body)
		got.Header.Del("Server-Timing")
		got.Header.Del("Date")
		return fmt.Sprint(got.Header, got.Body)
	}
	tk := one.ticket
	want := ask("/generate", inSession(tk, `"nobody's"`, `{}`))
	require.Contains(t, want, "session_unknown")
	id := rig.Quote(one.id)
	for name, body := range map[string][]byte{
		"ended": over.body(`{}`), "another session's ticket": inSession(other.ticket, id, `{}`), "a fresh ticket": inSession(s.Ticket(), id, `{}`),
		"another cost": inSession(tk.With("cost", "512.0"), id, `{}`), "another url": inSession(tk.With("url", `"http://b"`), id, `{}`),
		"another endpoint": inSession(tk.With("endpoint", `"b"`), id, `{}`), "another number": inSession(tk.With("reqnum", "99999"), id, `{}`),
		"no signature": inSession(tk.With("signature", `""`), id, `{}`), "a number": inSession(tk, "17", `{}`), "empty": inSession(tk, `""`, `{}`),
		"an object": inSession(tk, `{}`, `{}`), "upper case": inSession(tk, rig.Quote(strings.ToUpper(one.id)+"x"), `{}`),
	} {
		require.Equal(t, want, ask("/generate", body), name)
	}
	for _, path := range []string{"/session/get", "/session/end"} {
		for name, body := range map[string]string{
			"unknown": string(claim(tk, `"nobody's"`)), "ended": string(claim(over.ticket, rig.Quote(over.id))), "another's": string(claim(other.ticket, id)),
			"none": `{"session_id":` + id + `}`, "null": `{"session_id":` + id + `,"session_auth":null}`, "empty": `{"session_id":` + id + `,"session_auth":{}}`,
			"no id": `{"session_auth":{` + tk.Members() + `}}`, "an id of null": string(claim(tk, "null")), "a number": string(claim(tk, "17")), "nothing": `{}`,
		} {
			require.Equal(t, want, ask(path, []byte(body)), name)
			require.Equal(t, `{"ok":false}`, u.Post("/session/health", []byte(body)).Body, name)
		}
		require.Equal(t, "invalid_json", u.Post(path, []byte(`{"session_id":"a","session_id":"b"}`)).Code())
	}
	// The cost may be spelled as another client library spells it.
	require.Equal(t, 200, u.Post("/generate", inSession(tk.With("cost", "256").With("more", "1"), id, `{}`)).Status)
	require.Equal(t, 200, one.ask("get").Status)
}

// The terms a session may be opened with, and those it may not.
func TestSessionTerms(t *testing.T) {
	t.Parallel()
	s, m := rig.NewSigner(t), rig.NewModel(t, nil)
	u := rig.Start(t, withSessions(m, s, 100).With(rig.Env{"USHER_COST_POLICY": "enforce"})).Ready()
	for terms, want := range map[string]string{
		`{"lifetime":0.5}`: "lifetime", `{"lifetime":86401}`: "lifetime", `{"lifetime":"60"}`: "lifetime", `{"lifetime":1e999}`: "lifetime", `{"lifetime":-1}`: "lifetime",
		`{"on_close_route":"http://203.0.113.9/generate"}`: "on_close_route", `{"on_close_route":"/nowhere"}`: "on_close_route", `{"on_close_route":"/generate/"}`: "on_close_route",
		`{"on_close_route":"/generate?x"}`: "on_close_route", `{"on_close_route":"//generate"}`: "on_close_route", `{"on_close_route":"/session/end"}`: "on_close_route",
		`{"on_close_route":""}`: "on_close_route", `{"on_close_route":7}`: "on_close_route", `{"on_close_route":"/health"}`: "on_close_route",
		`{"on_close_payload":[1]}`: "on_close_payload", `[]`: "payload", `null`: "payload",
	} {
		got := u.Post("/session/create", s.Ticket().Nested(terms))
		require.Equal(t, "invalid_ticket", got.Code(), terms)
		require.Contains(t, got.Body, want, terms)
	}
	both := u.Post("/session/create", s.Ticket().With("cost", "").Nested(`{"lifetime":0,"on_close_payload":1}`))
	for _, fault := range []string{"cost is missing", "lifetime", "on_close_payload"} {
		require.Contains(t, both.Body, fault)
	}
	require.Equal(t, "invalid_ticket", u.Post("/session/create", s.Ticket().Flat("")).Code(), "nested alone")
	require.Equal(t, "invalid_json", u.Post("/session/create", s.Ticket().Nested(`{"lifetime":1,"lifetime":2}`)).Code())
	require.Equal(t, "bad_signature", u.Post("/session/create", rig.NewSigner(t).Numbered(1<<40).Nested(`{}`)).Code())
	require.Equal(t, "url_mismatch", u.Post("/session/create", s.Ticket().With("url", `"http://b"`).Nested(`{}`)).Code())
	require.Equal(t, "method_not_allowed", u.Do("GET", "/session/get", nil, nil).Code())
	large := u.Post("/session/create", s.Ticket().Nested(`{"on_close_payload":{"x":"`+strings.Repeat("x", 64<<10)+`"}}`))
	require.Equal(t, "body_too_large", large.Code())
	require.Contains(t, large.Body, "65536")
	// The closing call is priced like any request.
	require.Equal(t, "cost_exceeded", u.Post("/session/create", s.Ticket().Nested(`{"on_close_route":"/generate","on_close_payload":{"parameters":{"max_new_tokens":257}}}`)).Code())
	for _, terms := range []string{`{}`, `{"lifetime":null,"on_close_route":null,"on_close_payload":null}`, `{"lifetime":1}`, `{"lifetime":86400.0,"unknown":{}}`} {
		sessionOfUsher(u, s.Ticket(), terms)
	}
	one := sessionOfUsher(u, s.Ticket(), `{"on_close_route":"/generate"}`)
	require.Equal(t, "cost_exceeded", u.Post("/generate", one.body(`{"parameters":{"max_new_tokens":257}}`)).Code(), "the cost policy must hold for each request")
	require.Equal(t, 200, u.Post("/generate", one.body(`{"inputs":"a"}`)).Status)
	require.Contains(t, bodies(m, "/generate")[0], `"max_new_tokens":256`)
	require.Contains(t, one.ask("get").Body, `"on_close_payload":null`)
}

// Ten thousand clients want a session at once: as many get one as are allowed, and
// refused tickets stay good.
func TestSessionLimit(t *testing.T) {
	t.Parallel()
	const clients, most = 32, 50
	each := full.Or(32, 312)
	s := rig.NewEd25519Signer(t)
	u := rig.Start(t, withSessions(rig.NewModel(t, nil), s, most)).Ready()
	var got201, got429, other atomic.Int64
	var refused atomic.Pointer[rig.Ticket]
	var load sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	t.Cleanup(client.CloseIdleConnections)
	for range clients {
		load.Go(func() {
			for range each {
				tk := s.Ticket()
				resp, err := client.Post("http://"+u.Public+"/session/create", "application/json", strings.NewReader(string(tk.Nested(`{"lifetime":86400}`))))
				if err != nil {
					other.Add(1)
					continue
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				switch {
				case resp.StatusCode == 201:
					got201.Add(1)
				case resp.StatusCode == 429 && resp.Header.Get("X-Usher-Refusal") == "queue_full" && resp.Header.Get("Retry-After") != "":
					got429.Add(1)
					refused.Store(&tk)
				default:
					other.Add(1)
				}
			}
		})
	}
	load.Wait()
	require.EqualValues(t, most, got201.Load())
	require.EqualValues(t, clients*each-most, got429.Load(), "others: %d", other.Load())
	require.EqualValues(t, most, u.Metric("usher_sessions"))
	require.Equal(t, 200, u.Post("/generate", refused.Load().Nested(`{}`)).Status)
}

// A retry in a session is not a replay, so no answer forbids it. A worker that is
// still loading opens no session.
func TestSessionRetries(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/generate":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/generate_stream":
			panic(http.ErrAbortHandler)
		}
	})
	u := rig.Start(t, withSessions(m, s, 4)).Ready()
	one := sessionOfUsher(u, s.Ticket(), `{}`)
	for path, status := range map[string]int{"/generate": 503, "/generate_stream": 502} {
		for range 2 {
			got := u.Post(path, one.body(`{}`))
			require.Equal(t, status, got.Status, got.Body)
			require.Empty(t, got.Header.Get("X-Should-Retry"), path)
		}
		require.Equal(t, "false", u.Post(path, s.Ticket().Nested(`{}`)).Header.Get("X-Should-Retry"), path)
	}
	m.Sick.Store(true)
	u = rig.Start(t, withSessions(m, s, 4).With(rig.Env{"USHER_BENCHMARK": "100"}))
	require.Equal(t, "loading", u.Post("/session/create", s.Ticket().Nested(`{}`)).Code())
	require.Equal(t, "loading", u.Post("/session/health", claim(s.Ticket(), `"x"`)).Code())
}
