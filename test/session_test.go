package test

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
)

// withSessions are the settings of a worker that takes so many.
func withSessions(m *model, s *signer, most int) env {
	return settings(m, s).with(env{"USHER_MAX_SESSIONS": fmt.Sprint(most)})
}

// A session is one as its client knows it.
type session struct {
	u      *usher
	ticket ticket
	id     string
	opened opened
}

type opened struct {
	ID         string  `json:"session_id"`
	Expiration float64 `json:"expiration"`
}

// session opens one with a ticket and terms.
func (u *usher) session(t ticket, terms string) session {
	u.t.Helper()
	got := u.post("/session/create", t.nested(terms))
	require.Equal(u.t, 201, got.status, got.body)
	s := session{u: u, ticket: t}
	require.NoError(u.t, json.Unmarshal([]byte(got.body), &s.opened))
	s.id = s.opened.ID
	require.GreaterOrEqual(u.t, len(s.id), 22, "128 bits at least")
	return s
}

// body is that of a request in the session.
func (s session) body(payload string) []byte { return inSession(s.ticket, quote(s.id), payload) }

func inSession(t ticket, id, payload string) []byte {
	return []byte(`{"auth_data":{` + t.members() + `},"session_id":` + id + `,"payload":` + payload + `}`)
}

// ask asks get, health or end of the session.
func (s session) ask(what string) answer {
	return s.u.post("/session/"+what, claim(s.ticket, quote(s.id)))
}

func claim(t ticket, id string) []byte {
	return []byte(`{"session_id":` + id + `,"session_auth":{` + t.members() + `}}`)
}

// bodies are those of the requests to a path that reached the model server.
func (m *model) bodies(path string) (list []string) {
	for _, a := range m.arrivals() {
		if a.target == path {
			list = append(list, a.body)
		}
	}
	return list
}

// The life of a session, as the field's client leads it.
func TestSessionLife(t *testing.T) {
	t.Parallel()
	s, m := newSigner(t), newModel(t, nil)
	u := start(t, withSessions(m, s, 2).with(env{"USHER_UPSTREAM_AUTHORIZATION": "Bearer ours", "USHER_ROUTES": "/generate,/stop"})).ready()
	tk := s.ticket().with("status", `"READY"`) // clients give the autoscaler's whole answer back
	one := u.session(tk, `{"lifetime":30,"on_close_route":"/stop","on_close_payload":{"why": 1e2, "x":"<&>"}}`)
	require.InDelta(t, float64(time.Now().UnixMilli())/1000+30, one.opened.Expiration, 5)
	require.Equal(t, "reqnum_replayed", u.post("/generate", tk.nested(`{}`)).code(), "the ticket is spent")
	require.Equal(t, "reqnum_replayed", u.post("/session/create", tk.nested(`{}`)).code())

	for i := range 3 {
		payload := fmt.Sprintf(`{"inputs": "number %d"}`, i)
		got := u.post("/generate", one.body(payload))
		require.Equal(t, 200, got.status, got.body)
		require.Equal(t, payload, m.bodies("/generate")[i])
	}
	got := one.ask("get")
	require.Equal(t, 200, got.status, got.body)
	var view map[string]any
	require.NoError(t, json.Unmarshal([]byte(got.body), &view))
	require.Equal(t, one.id, view["session_id"])
	require.EqualValues(t, 30, view["lifetime"])
	require.InDelta(t, one.opened.Expiration+3*30, view["expiration"], 0.001, "each request moves it on")
	require.InDelta(t, one.opened.Expiration-30, view["created_at"], 0.001)
	require.Equal(t, "/stop", view["on_close_route"])
	require.Contains(t, got.body, `"auth_data":{`+tk.members()+`}`, "as it was given")
	require.Contains(t, got.body, `"on_close_payload":{"why": 1e2, "x":"<&>"}`)
	require.Equal(t, `{"ok":true}`, one.ask("health").body)
	require.EqualValues(t, 1, u.metric("usher_sessions"))

	require.Empty(t, m.bodies("/stop"))
	require.JSONEq(t, `{"ended":true,"removed_session":`+quote(one.id)+`}`, one.ask("end").body)
	require.Equal(t, []string{`{"why": 1e2, "x":"<&>"}`}, m.bodies("/stop"), "once, and before the answer")
	for _, a := range m.arrivals() {
		require.Equal(t, []string{"Bearer ours"}, a.header["Authorization"])
		if a.target == "/stop" {
			require.Equal(t, "POST", a.method)
			require.Equal(t, []string{"application/json"}, a.header["Content-Type"])
			require.Empty(t, a.header["User-Agent"])
		}
	}
	for _, what := range []string{"end", "get"} {
		got := one.ask(what)
		require.Equal(t, 410, got.status)
		require.Equal(t, "session_unknown", got.code())
	}
	require.Equal(t, `{"ok":false}`, one.ask("health").body)
	require.Equal(t, 410, u.post("/generate", one.body(`{}`)).status)
	require.Len(t, m.bodies("/stop"), 1)
	require.EqualValues(t, 0, u.metric("usher_sessions"))
	require.EqualValues(t, 3, u.metric("usher_session_requests_total"))
	require.EqualValues(t, 1, u.metric(`usher_session_ends_total{cause="closed"}`))
	require.EqualValues(t, 1, u.metric(`usher_session_closings_total{outcome="ok"}`))
	require.EqualValues(t, 1, u.metric(`usher_requests_total{outcome="ok",route="/session/create"}`))
	for _, line := range u.log() {
		require.NotContains(t, line, one.id)
	}
}

// Without the setting everything is as before: no such paths, and a session_id is
// one of the members that are not looked at.
func TestSessionsAreOff(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	u := start(t, settings(newModel(t, nil), s)).ready()
	require.Equal(t, "route_unknown", u.post("/session/create", s.ticket().nested(`{}`)).code())
	tk := s.ticket()
	require.Equal(t, 200, u.post("/generate", inSession(tk, `"abc"`, `{}`)).status)
	require.Equal(t, "reqnum_replayed", u.post("/generate", inSession(tk, `"abc"`, `{}`)).code())
}

// A session_id of null is none; one that is unknown, has ended, or is another
// ticket's gets one answer.
func TestSessionUnknown(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	u := start(t, withSessions(newModel(t, nil), s, 8)).ready()
	require.Equal(t, 200, u.post("/generate", inSession(s.ticket(), "null", `{}`)).status)
	one, other := u.session(s.ticket(), `{}`), u.session(s.ticket(), `{}`)
	over := u.session(s.ticket(), `{}`)
	require.Equal(t, 200, over.ask("end").status)
	header := http.Header{"X-Request-Id": {"same"}}
	ask := func(path string, body []byte) (text string) {
		got := u.do("POST", path, body, header)
		require.Equal(t, 410, got.status, got.body)
		got.header.Del("Server-Timing")
		return fmt.Sprint(got.header, got.body)
	}
	tk := one.ticket
	want := ask("/generate", inSession(tk, `"nobody's"`, `{}`))
	require.Contains(t, want, "session_unknown")
	id := quote(one.id)
	for name, body := range map[string][]byte{
		"ended": over.body(`{}`), "another session's ticket": inSession(other.ticket, id, `{}`), "a fresh ticket": inSession(s.ticket(), id, `{}`),
		"another cost": inSession(tk.with("cost", "512.0"), id, `{}`), "another url": inSession(tk.with("url", `"http://b"`), id, `{}`),
		"another endpoint": inSession(tk.with("endpoint", `"b"`), id, `{}`), "another number": inSession(tk.with("reqnum", "99999"), id, `{}`),
		"no signature": inSession(tk.with("signature", `""`), id, `{}`), "a number": inSession(tk, "17", `{}`), "empty": inSession(tk, `""`, `{}`),
		"an object": inSession(tk, `{}`, `{}`), "upper case": inSession(tk, quote(strings.ToUpper(one.id)+"x"), `{}`),
	} {
		require.Equal(t, want, ask("/generate", body), name)
	}
	for _, path := range []string{"/session/get", "/session/end"} {
		for name, body := range map[string]string{
			"unknown": string(claim(tk, `"nobody's"`)), "ended": string(claim(over.ticket, quote(over.id))), "another's": string(claim(other.ticket, id)),
			"none": `{"session_id":` + id + `}`, "null": `{"session_id":` + id + `,"session_auth":null}`, "empty": `{"session_id":` + id + `,"session_auth":{}}`,
		} {
			require.Equal(t, want, ask(path, []byte(body)), name)
			require.Equal(t, `{"ok":false}`, u.post("/session/health", []byte(body)).body, name)
		}
		require.Equal(t, "invalid_ticket", u.post(path, []byte(`{"session_auth":{}}`)).code())
		require.Equal(t, "invalid_json", u.post(path, []byte(`{"session_id":"a","session_id":"b"}`)).code())
	}
	// The cost may be spelled as another client library does.
	require.Equal(t, 200, u.post("/generate", inSession(tk.with("cost", "256").with("more", "1"), id, `{}`)).status)
	require.Equal(t, 200, one.ask("get").status)
}

// What a session may be asked with, and what not.
func TestSessionTerms(t *testing.T) {
	t.Parallel()
	s, m := newSigner(t), newModel(t, nil)
	u := start(t, withSessions(m, s, 100).with(env{"USHER_COST_POLICY": "enforce"})).ready()
	for terms, want := range map[string]string{
		`{"lifetime":0.5}`: "lifetime", `{"lifetime":86401}`: "lifetime", `{"lifetime":"60"}`: "lifetime", `{"lifetime":1e999}`: "lifetime", `{"lifetime":-1}`: "lifetime",
		`{"on_close_route":"http://203.0.113.9/generate"}`: "on_close_route", `{"on_close_route":"/nowhere"}`: "on_close_route", `{"on_close_route":"/generate/"}`: "on_close_route",
		`{"on_close_route":"/generate?x"}`: "on_close_route", `{"on_close_route":"//generate"}`: "on_close_route", `{"on_close_route":"/session/end"}`: "on_close_route",
		`{"on_close_route":""}`: "on_close_route", `{"on_close_route":7}`: "on_close_route", `{"on_close_route":"/health"}`: "on_close_route",
		`{"on_close_payload":[1]}`: "on_close_payload", `[]`: "payload", `null`: "payload",
	} {
		got := u.post("/session/create", s.ticket().nested(terms))
		require.Equal(t, "invalid_ticket", got.code(), terms)
		require.Contains(t, got.body, want, terms)
	}
	both := u.post("/session/create", s.ticket().with("cost", "").nested(`{"lifetime":0,"on_close_payload":1}`))
	for _, fault := range []string{"cost is missing", "lifetime", "on_close_payload"} {
		require.Contains(t, both.body, fault)
	}
	require.Equal(t, "invalid_ticket", u.post("/session/create", s.ticket().flat("")).code(), "nested alone")
	require.Equal(t, "invalid_json", u.post("/session/create", s.ticket().nested(`{"lifetime":1,"lifetime":2}`)).code())
	require.Equal(t, "bad_signature", u.post("/session/create", newSigner(t).numbered(1<<40).nested(`{}`)).code())
	require.Equal(t, "url_mismatch", u.post("/session/create", s.ticket().with("url", `"http://b"`).nested(`{}`)).code())
	require.Equal(t, "method_not_allowed", u.do("GET", "/session/get", nil, nil).code())
	large := u.post("/session/create", s.ticket().nested(`{"on_close_payload":{"x":"`+strings.Repeat("x", 64<<10)+`"}}`))
	require.Equal(t, "body_too_large", large.code())
	require.Contains(t, large.body, "65536")
	// What is called at the end is priced as any request.
	require.Equal(t, "cost_exceeded", u.post("/session/create", s.ticket().nested(`{"on_close_route":"/generate","on_close_payload":{"parameters":{"max_new_tokens":257}}}`)).code())
	for _, terms := range []string{`{}`, `{"lifetime":null,"on_close_route":null,"on_close_payload":null}`, `{"lifetime":1}`, `{"lifetime":86400.0,"unknown":{}}`} {
		u.session(s.ticket(), terms)
	}
	one := u.session(s.ticket(), `{"on_close_route":"/generate"}`)
	require.Equal(t, "cost_exceeded", u.post("/generate", one.body(`{"parameters":{"max_new_tokens":257}}`)).code(), "the policy holds for each request")
	require.Equal(t, 200, u.post("/generate", one.body(`{"inputs":"a"}`)).status)
	require.Contains(t, m.bodies("/generate")[0], `"max_new_tokens":256`)
	require.Contains(t, one.ask("get").body, `"on_close_payload":null`)
}

// Ten thousand clients want a session at once: as many get one as there are, and
// what is refused stays good.
func TestSessionLimit(t *testing.T) {
	t.Parallel()
	const clients, each, most = 32, 312, 50
	s := newEd25519Signer(t)
	u := start(t, withSessions(newModel(t, nil), s, most)).ready()
	var got201, got429, other atomic.Int64
	var refused atomic.Pointer[ticket]
	var load sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	t.Cleanup(client.CloseIdleConnections)
	for range clients {
		load.Go(func() {
			for range each {
				tk := s.ticket()
				resp, err := client.Post("http://"+u.public+"/session/create", "application/json", strings.NewReader(string(tk.nested(`{}`))))
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
	require.EqualValues(t, most, u.metric("usher_sessions"))
	require.Equal(t, 200, u.post("/generate", refused.Load().nested(`{}`)).status)
}

// A retry in a session is no replay, so nobody is told to leave it; and a worker
// that is still loading opens no session.
func TestSessionRetries(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	m := newModel(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/generate":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/generate_stream":
			panic(http.ErrAbortHandler)
		}
	})
	u := start(t, withSessions(m, s, 4)).ready()
	one := u.session(s.ticket(), `{}`)
	for path, status := range map[string]int{"/generate": 503, "/generate_stream": 502} {
		for range 2 {
			got := u.post(path, one.body(`{}`))
			require.Equal(t, status, got.status, got.body)
			require.Empty(t, got.header.Get("X-Should-Retry"), path)
		}
		require.Equal(t, "false", u.post(path, s.ticket().nested(`{}`)).header.Get("X-Should-Retry"), path)
	}
	m.sick.Store(true)
	u = start(t, withSessions(m, s, 4).with(env{"USHER_BENCHMARK": "100"}))
	require.Equal(t, "loading", u.post("/session/create", s.ticket().nested(`{}`)).code())
	require.Equal(t, "loading", u.post("/session/health", claim(s.ticket(), `"x"`)).code())
}
