package status

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/sidecar/account"
	"github.com/usher-sidecar/usher/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func testSource() Source {
	return Source{
		State: func(s *Snapshot) {
			s.Version, s.Ready, s.Upstream.Healthy = "v9", true, true
			s.Key.Algorithm = "RSA"
			s.Settings = []Setting{{"USHER_ENDPOINT", "<b>my-llama</b>"}}
		},
		Load:   func() (Load, int64) { return Load{}, 0 },
		Sample: func(*Sample) {},
	}
}

// serve runs Pages behind a real server until the test ends.
func serve(t *testing.T, r *Recorder) (*Pages, string) {
	t.Helper()
	p := NewPages(r, testSource())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = p.Run(ctx) }()
	server := httptest.NewServer(p.Handler())
	t.Cleanup(func() {
		p.Close()
		http.DefaultClient.CloseIdleConnections()
		server.Close()
		cancel()
		<-done
	})
	return p, server.URL
}

// A stream is an open page.
type stream struct {
	t    *testing.T
	resp *http.Response
	in   *bufio.Scanner
}

func open(t *testing.T, url string) *stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/events", nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	t.Cleanup(func() { cancel(); _ = resp.Body.Close() })
	in := bufio.NewScanner(resp.Body)
	in.Buffer(nil, 1<<20)
	return &stream{t, resp, in}
}

// next returns the next event with a name; others before it are skipped.
func (s *stream) next(name string) (data string) {
	s.t.Helper()
	for s.in.Scan() {
		if s.in.Text() == "event: "+name && s.in.Scan() {
			return strings.TrimPrefix(s.in.Text(), "data: ")
		}
	}
	require.FailNow(s.t, "the stream ended", "waiting for %s: %v", name, s.in.Err())
	return ""
}

func TestEvents(t *testing.T) {
	r := NewRecorder()
	p, url := serve(t, r)
	s := open(t, url)
	require.Equal(t, "text/event-stream", s.resp.Header.Get("Content-Type"))
	var all, news Snapshot
	require.NoError(t, json.Unmarshal([]byte(s.next("all")), &all))
	require.Len(t, all.Settings, 1)
	require.Contains(t, all.Verdict.Text, "idle")

	r.Ended(&account.Request{ID: "abc", Outcome: account.ReqnumStale})
	for len(news.Refusals) == 0 { // there may have been news just before
		require.NoError(t, json.Unmarshal([]byte(s.next("news")), &news))
		require.Empty(t, news.Settings, "told once")
	}
	require.Equal(t, "abc", news.Refusals[0].RequestID)
	require.NoError(t, json.Unmarshal([]byte(s.next("news")), &news))
	require.Empty(t, news.Refusals, "told once")

	var m moved
	r.Strip.Came(5)
	require.NoError(t, json.Unmarshal([]byte(s.next("strip")), &m))
	require.Equal(t, "w", m.Strip.Cells)

	p.Close()
	s.next("end")
	require.False(t, s.in.Scan() && s.in.Text() != "", "nothing after it")
	require.NoError(t, s.in.Err(), "a clean end")
	resp, err := http.Get(url + "/events")
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
}

func TestPagesAreBounded(t *testing.T) {
	_, url := serve(t, NewRecorder())
	for range MaxPages {
		open(t, url).next("all")
	}
	resp, err := http.Get(url + "/events")
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.NotEmpty(t, resp.Header.Get("Retry-After"))
}

// A page that does not read is disconnected, and the others continue.
func TestSlowPageIsClosed(t *testing.T) {
	p := NewPages(NewRecorder(), testSource())
	slow, err := p.join()
	require.NoError(t, err)
	for range pageBacklog + 1 {
		p.tell([]byte("x"))
	}
	require.True(t, p.none())
	n := 0
	for range slow.events {
		n++
	}
	require.Equal(t, pageBacklog, n)
	p.leave(slow)
}

func TestHandler(t *testing.T) {
	p := NewPages(NewRecorder(), testSource())
	get := func(path, accept string, header ...string) *http.Response {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("Accept", accept)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		p.Handler().ServeHTTP(w, r)
		return w.Result()
	}
	page := get("/", "text/html,application/xhtml+xml;q=0.9")
	require.Equal(t, "text/html; charset=utf-8", page.Header.Get("Content-Type"))
	policy := page.Header.Get("Content-Security-Policy")
	require.Contains(t, policy, "default-src 'none'")
	require.NotContains(t, policy, "unsafe")
	require.Equal(t, "nosniff", page.Header.Get("X-Content-Type-Options"))
	require.Equal(t, "no-referrer", page.Header.Get("Referrer-Policy"))
	require.Equal(t, "Accept", page.Header.Get("Vary"))
	html, err := io.ReadAll(page.Body)
	require.NoError(t, err)
	require.NotRegexp(t, `(src|href)="(https?:)?//`, string(html), "nothing from elsewhere")
	require.NotRegexp(t, ` (style|on[a-z]+)=|<style|<script>`, string(html), "nothing inline")

	text := get("/", "*/*")
	require.Equal(t, "text/plain; charset=utf-8", text.Header.Get("Content-Type"))
	require.Equal(t, "no-store", text.Header.Get("Cache-Control"))
	said, err := io.ReadAll(text.Body)
	require.NoError(t, err)
	require.Contains(t, string(said), "Ready and idle")
	require.Contains(t, string(said), "USHER_ENDPOINT")

	var s Snapshot
	require.NoError(t, json.NewDecoder(get("/status.json", "*/*").Body).Decode(&s))
	require.Equal(t, "v9", s.Version)

	script := get("/assets/page.js", "*/*")
	require.Equal(t, "text/javascript; charset=utf-8", script.Header.Get("Content-Type"))
	require.Equal(t, "no-cache", script.Header.Get("Cache-Control"))
	require.Equal(t, http.StatusNotModified, get("/assets/page.js", "*/*", "If-None-Match", script.Header.Get("ETag")).StatusCode)
	require.Equal(t, http.StatusOK, get("/assets/uplot/LICENSE", "*/*").StatusCode)
	require.Equal(t, http.StatusNotFound, get("/assets/index.html", "*/*").StatusCode)
	require.Equal(t, http.StatusNotFound, get("/other", "*/*").StatusCode)
}
