package contract

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// Open routes need no ticket, for GET and HEAD, and a customer's key is not forwarded
// with them.
func TestOpenRoutes(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "13")
		if r.Method != "HEAD" {
			_, _ = io.WriteString(w, `{"data":"all"}`[:13])
		}
	})
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{
		"USHER_OPEN_ROUTES": "/v1/models,GET /v1/models/*", "USHER_UPSTREAM_AUTHORIZATION": "Bearer ours", "USHER_CORS_ORIGINS": "*",
	})).Ready()
	customer := http.Header{"Authorization": {"Bearer customer"}}
	got := u.Do("GET", "/v1/models?api_key=customer&a=1", nil, customer)
	require.Equal(t, 200, got.Status, got.Body)
	require.Equal(t, `{"data":"all"`, got.Body)
	require.NotEmpty(t, got.Header.Get("X-Request-Id"))
	got = u.Do("GET", "/v1/models/a/b", nil, nil)
	require.Equal(t, 200, got.Status)

	w := rig.Dial(t, u.Public)
	for range 2 { // the connection is kept
		w.Send("HEAD /v1/models HTTP/1.1\r\nHost: a\r\n\r\n")
		resp, err := http.ReadResponse(w.In, &http.Request{Method: "HEAD"})
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		require.EqualValues(t, 13, resp.ContentLength, "HEAD must state the length that GET would have")
	}
	seen := m.Arrivals()
	require.Len(t, seen, 4)
	for i, method := range []string{"GET", "GET", "HEAD", "HEAD"} {
		require.Equal(t, method, seen[i].Method)
		require.Equal(t, "Bearer ours", seen[i].Header.Get("Authorization"))
		require.NotContains(t, seen[i].Target, "customer")
		require.Empty(t, seen[i].Header.Get("Content-Length"), "Usher must not add a Content-Length")
	}
	require.Equal(t, "/v1/models?a=1", seen[0].Target)

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
		w := rig.Dial(t, u.Public)
		w.Request(refused.method, refused.path, []byte(refused.body))
		resp, err := http.ReadResponse(w.In, &http.Request{Method: refused.method})
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, refused.status, resp.StatusCode, "%s %s: %s", refused.method, refused.path, body)
		require.Equal(t, refused.allow, resp.Header.Get("Allow"))
		require.Contains(t, string(body), refused.code)
	}
	w = rig.Dial(t, u.Public)
	w.Send("GET /v1/models HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")
	require.Contains(t, w.Response(), "413 ")
	require.Len(t, m.Arrivals(), 4)

	preflight := u.Do("OPTIONS", "/v1/models", nil, http.Header{"Origin": {"https://a.example"}, "Access-Control-Request-Method": {"GET"}})
	require.Equal(t, "GET, HEAD, OPTIONS", preflight.Header.Get("Access-Control-Allow-Methods"))
	preflight = u.Do("OPTIONS", "/generate", nil, http.Header{"Origin": {"https://a.example"}})
	require.Equal(t, "POST, OPTIONS", preflight.Header.Get("Access-Control-Allow-Methods"))

	u.WaitMetric(`usher_requests_total{outcome="ok",route="/v1/models"}`, 3)
	u.WaitMetric(`usher_requests_total{outcome="ok",route="GET /v1/models/*"}`, 1)
	require.EqualValues(t, 3, u.Metric(`usher_requests_total{outcome="method_not_allowed",route="/v1/models"}`)+
		u.Metric(`usher_requests_total{outcome="method_not_allowed",route="GET /v1/models/*"}`))
	for _, line := range u.Log() {
		require.NotContains(t, line, "customer")
	}
}

// Open routes have a limit of their own: they neither take slots from requests with a
// ticket nor wait for them.
func TestOpenConcurrency(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	let, held := make(chan struct{}), atomic.Int64{}
	m := rig.NewModel(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			held.Add(1)
			select {
			case <-let:
			case <-r.Context().Done():
				held.Add(-1)
			}
		}
	})
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_OPEN_ROUTES": "/v1/models", "USHER_OPEN_CONCURRENCY": "2", "USHER_MAX_CONCURRENCY": "1"})).Ready()
	ctx, leave := context.WithCancel(context.Background())
	results := make(chan int, 2)
	get := func(ctx context.Context) {
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+u.Public+"/v1/models", nil)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			results <- -1
			return
		}
		_ = resp.Body.Close()
		results <- resp.StatusCode
	}
	go get(ctx)
	require.Eventually(t, func() bool { return held.Load() == 1 }, rig.Patience, time.Millisecond)
	go get(context.Background())
	require.Eventually(t, func() bool { return held.Load() == 2 }, rig.Patience, time.Millisecond)
	got := u.Do("GET", "/v1/models", nil, nil)
	require.Equal(t, 429, got.Status)
	require.Equal(t, "queue_full", got.Header.Get("X-Usher-Refusal"))
	require.NotEmpty(t, got.Header.Get("Retry-After"))
	require.Equal(t, 200, u.Post("/generate", s.Ticket().Flat("")).Status, "open routes must not take the slot of a ticket")
	leave() // and takes its request down
	require.Equal(t, -1, <-results)
	require.Eventually(t, func() bool { return held.Load() == 1 }, rig.Patience, time.Millisecond)
	close(let)
	require.Equal(t, 200, <-results)
	require.Eventually(t, func() bool { return u.Do("GET", "/v1/models", nil, nil).Status == 200 }, rig.Patience, 5*time.Millisecond)
}

// When an open route breaks off, clients are not told not to retry, as no ticket was
// spent.
func TestOpenRouteMayBeRetried(t *testing.T) {
	t.Parallel()
	m := rig.NewModel(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "broken") {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(500)
	})
	u := rig.Start(t, rig.Settings(m, rig.NewSigner(t)).With(rig.Env{"USHER_OPEN_ROUTES": "/a,/broken"})).Ready()
	got := u.Do("GET", "/a", nil, nil)
	require.Equal(t, 500, got.Status)
	require.Empty(t, got.Header.Get("X-Should-Retry"))
	got = u.Do("GET", "/broken", nil, nil)
	require.Equal(t, 502, got.Status)
	require.Empty(t, got.Header.Get("X-Should-Retry"))
}
