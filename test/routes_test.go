package test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Open routes pass without a ticket, by GET and HEAD, and nothing of a customer's
// key goes with them.
func TestOpenRoutes(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	m := newModel(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "13")
		if r.Method != "HEAD" {
			_, _ = io.WriteString(w, `{"data":"all"}`[:13])
		}
	})
	u := start(t, settings(m, s).with(env{
		"USHER_OPEN_ROUTES": "/v1/models,GET /v1/models/*", "USHER_UPSTREAM_AUTHORIZATION": "Bearer ours", "USHER_CORS_ORIGINS": "*",
	})).ready()
	customer := http.Header{"Authorization": {"Bearer customer"}}
	got := u.do("GET", "/v1/models?api_key=customer&a=1", nil, customer)
	require.Equal(t, 200, got.status, got.body)
	require.Equal(t, `{"data":"all"`, got.body)
	require.NotEmpty(t, got.header.Get("X-Request-Id"))
	got = u.do("GET", "/v1/models/a/b", nil, nil)
	require.Equal(t, 200, got.status)

	w := dial(t, u.public)
	for range 2 { // the connection is kept
		w.write("HEAD /v1/models HTTP/1.1\r\nHost: a\r\n\r\n")
		resp, err := http.ReadResponse(w.in, &http.Request{Method: "HEAD"})
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		require.EqualValues(t, 13, resp.ContentLength, "what a GET would have")
	}
	seen := m.arrivals()
	require.Len(t, seen, 4)
	for i, method := range []string{"GET", "GET", "HEAD", "HEAD"} {
		require.Equal(t, method, seen[i].method)
		require.Equal(t, "Bearer ours", seen[i].header.Get("Authorization"))
		require.NotContains(t, seen[i].target, "customer")
		require.Empty(t, seen[i].header.Get("Content-Length"), "none is invented")
	}
	require.Equal(t, "/v1/models?a=1", seen[0].target)

	for _, refused := range []struct {
		method, path, body, allow string
		status                    int
		code                      string
	}{
		{"POST", "/v1/models", "{}", "GET, HEAD", 405, "method_not_allowed"},
		{"DELETE", "/v1/models/a", "", "GET", 405, "method_not_allowed"},
		{"HEAD", "/v1/models/a", "", "GET", 405, ""},
		{"GET", "/v1/models/../x", "", "", 404, "route_unknown"},
		{"GET", "/v1/models/", "", "", 404, "route_unknown"},
		{"GET", "/v1/models", "body", "", 413, "body_too_large"},
		{"GET", "/generate", "", "POST", 405, "method_not_allowed"},
	} {
		w := dial(t, u.public)
		w.request(refused.method, refused.path, []byte(refused.body))
		resp, err := http.ReadResponse(w.in, &http.Request{Method: refused.method})
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, refused.status, resp.StatusCode, "%s %s: %s", refused.method, refused.path, body)
		require.Equal(t, refused.allow, resp.Header.Get("Allow"))
		require.Contains(t, string(body), refused.code)
	}
	w = dial(t, u.public)
	w.write("GET /v1/models HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")
	require.Contains(t, w.response(), "413 ")
	require.Len(t, m.arrivals(), 4)

	preflight := u.do("OPTIONS", "/v1/models", nil, http.Header{"Origin": {"https://a.example"}, "Access-Control-Request-Method": {"GET"}})
	require.Equal(t, "GET, HEAD, OPTIONS", preflight.header.Get("Access-Control-Allow-Methods"))
	preflight = u.do("OPTIONS", "/generate", nil, http.Header{"Origin": {"https://a.example"}})
	require.Equal(t, "POST, OPTIONS", preflight.header.Get("Access-Control-Allow-Methods"))

	require.EqualValues(t, 3, u.metric(`usher_requests_total{outcome="ok",route="/v1/models"}`))
	require.EqualValues(t, 1, u.metric(`usher_requests_total{outcome="ok",route="GET /v1/models/*"}`))
	require.EqualValues(t, 3, u.metric(`usher_requests_total{outcome="method_not_allowed",route="/v1/models"}`)+
		u.metric(`usher_requests_total{outcome="method_not_allowed",route="GET /v1/models/*"}`))
	for _, line := range u.log() {
		require.NotContains(t, line, "customer")
	}
}

// Open routes are limited among themselves, and neither take the slots of those
// that have a ticket nor wait for them.
func TestOpenConcurrency(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	let, held := make(chan struct{}), atomic.Int64{}
	m := newModel(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			held.Add(1)
			select {
			case <-let:
			case <-r.Context().Done():
				held.Add(-1)
			}
		}
	})
	u := start(t, settings(m, s).with(env{"USHER_OPEN_ROUTES": "/v1/models", "USHER_OPEN_CONCURRENCY": "2", "USHER_MAX_CONCURRENCY": "1"})).ready()
	ctx, leave := context.WithCancel(context.Background())
	results := make(chan int, 2)
	get := func(ctx context.Context) {
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+u.public+"/v1/models", nil)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			results <- -1
			return
		}
		_ = resp.Body.Close()
		results <- resp.StatusCode
	}
	go get(ctx)
	require.Eventually(t, func() bool { return held.Load() == 1 }, patience, time.Millisecond)
	go get(context.Background())
	require.Eventually(t, func() bool { return held.Load() == 2 }, patience, time.Millisecond)
	got := u.do("GET", "/v1/models", nil, nil)
	require.Equal(t, 429, got.status)
	require.Equal(t, "queue_full", got.header.Get("X-Usher-Refusal"))
	require.NotEmpty(t, got.header.Get("Retry-After"))
	require.Equal(t, 200, u.post("/generate", s.ticket().flat("")).status, "a ticket has a slot of its own")
	leave() // and takes its request down
	require.Equal(t, -1, <-results)
	require.Eventually(t, func() bool { return held.Load() == 1 }, patience, time.Millisecond)
	close(let)
	require.Equal(t, 200, <-results)
	require.Eventually(t, func() bool { return u.do("GET", "/v1/models", nil, nil).status == 200 }, patience, 5*time.Millisecond)
}

// An open route that breaks does not tell clients to stay away: there is no ticket
// that was spent.
func TestOpenRouteMayBeTriedAgain(t *testing.T) {
	t.Parallel()
	m := newModel(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "broken") {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(500)
	})
	u := start(t, settings(m, newSigner(t)).with(env{"USHER_OPEN_ROUTES": "/a,/broken"})).ready()
	got := u.do("GET", "/a", nil, nil)
	require.Equal(t, 500, got.status)
	require.Empty(t, got.header.Get("X-Should-Retry"))
	got = u.do("GET", "/broken", nil, nil)
	require.Equal(t, 502, got.status)
	require.Empty(t, got.header.Get("X-Should-Retry"))
}
