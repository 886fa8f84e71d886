package test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sideBySide runs a case beside others: what waits for the autoscaler's second
// needs no processor, and t.Parallel runs no more at once than there are.
func sideBySide(t *testing.T, cases *sync.WaitGroup, name string, run func(*testing.T)) {
	cases.Go(func() { t.Run(name, run) })
}

// serveIndexed sends signed requests, each of 10 with an index, and wants each
// answered with 200.
func (u *usher) serveIndexed(t testing.TB, s *signer, from, n int) {
	t.Helper()
	for i := range n {
		sent := time.Now()
		resp, err := http.Post("http://"+u.public+"/generate", "application/json", strings.NewReader(string(s.indexed("10.0", strconv.Itoa(from+i)).flat(""))))
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Less(t, time.Since(sent), 5*time.Second, "no request waits for the autoscaler")
	}
}

// allTold waits until n requests of 10 were told of, and checks that nothing was
// told twice.
func (a *scaler) allTold(t testing.TB, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return a.sum("cur_perf") >= float64(10*n) && len(a.ends()) >= n }, patience, 10*time.Millisecond,
		"%v of %d, %d ends", a.sum("cur_perf"), 10*n, len(a.ends()))
	require.Equal(t, float64(10*n), a.sum("cur_perf"))
	require.Equal(t, float64(10*n), a.sum("new_load"))
	seen := map[any]bool{}
	for _, e := range a.ends() {
		require.False(t, seen[e["request_idx"]], "%v twice", e["request_idx"])
		seen[e["request_idx"]] = true
	}
	require.Len(t, seen, n)
}

// Whatever the autoscaler does, requests pass, and it learns each once.
func TestReportsGetThrough(t *testing.T) {
	t.Parallel()
	const early, n = 5, 15
	elsewhere := make(chan string, 64)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		elsewhere <- r.Method + " " + string(body)
	}))
	t.Cleanup(other.Close)
	cut := func(w http.ResponseWriter, _ *http.Request) {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = conn.Close()
		}
	}
	var flap atomic.Int64
	var cases sync.WaitGroup
	for name, c := range map[string]struct {
		behave http.HandlerFunc // at first
		second bool             // another address is good
	}{
		"answers 500":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, false},
		"answers 401":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, false},
		"closes early": {cut, false},
		"redirects": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, []int{301, 302, 307, 308}[flap.Add(1)%4])
		}, false},
		"echoes rubbish": {func(w http.ResponseWriter, r *http.Request) {
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_, _ = fmt.Fprintf(conn, "%s is no HTTP\r\n\r\n", masterToken)
				_ = conn.Close()
			}
		}, false},
		"is dead":                      {nil, false},
		"is dead, the next one is not": {nil, true},
	} {
		sideBySide(t, &cases, name, func(t *testing.T) {
			s, m := newSigner(t), newModel(t, nil)
			bad, good := newScaler(t, c.behave), newScaler(t, nil)
			addresses := []string{bad.URL}
			told := bad
			if c.second {
				addresses, told = append(addresses, good.URL), good
			}
			if c.behave == nil {
				bad.Close()
			}
			comesBack := func() {
				listener, err := net.Listen("tcp", strings.TrimPrefix(bad.URL, "http://"))
				require.NoError(t, err)
				again := &http.Server{Handler: http.HandlerFunc(bad.serve)}
				go func() { _ = again.Serve(listener) }()
				t.Cleanup(func() { _ = again.Close() })
			}
			u := start(t, reporting(m, s, addresses...)).ready()
			u.serveIndexed(t, s, 1, early)
			if c.behave != nil {
				require.Eventually(t, func() bool { return bad.tried() > 0 }, patience, time.Millisecond)
			}
			if !c.second {
				u.waitLine(`"msg":"the autoscaler does not take reports"`)
				require.Empty(t, bad.reports())
				bad.behave(nil) // it comes to its senses
				if c.behave == nil {
					comesBack()
				}
			}
			u.serveIndexed(t, s, 100, n-early)
			told.allTold(t, n)
			if !c.second {
				u.waitLine(`"msg":"the autoscaler takes reports again"`)
			}
			require.NotContains(t, strings.Join(u.log(), "\n"), masterToken)
			require.Zero(t, u.metric("usher_reports_dropped_total"))
		})
	}
	cases.Wait()
	require.Empty(t, elsewhere, "the token was sent on")
}

// What is acknowledged with a 2xx is acknowledged, whatever comes with it and
// after whatever time.
func TestOddAcknowledgements(t *testing.T) {
	t.Parallel()
	var cases sync.WaitGroup
	defer cases.Wait()
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request){
		"rubbish":  func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "\x00<html>{{{") },
		"accepted": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) },
		"slow":     func(http.ResponseWriter, *http.Request) { time.Sleep(400 * time.Millisecond) },
		"never ending": func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
		"cut short": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "less")
		},
	} {
		sideBySide(t, &cases, name, func(t *testing.T) {
			s, m := newSigner(t), newModel(t, nil)
			var a *scaler
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				a.keep(r.URL.Path, body)
				answer(w, r)
			}))
			a = &scaler{Server: server}
			t.Cleanup(server.Close)
			u := start(t, reporting(m, s, a.URL)).ready()
			u.serveIndexed(t, s, 1, 20)
			a.allTold(t, 20)
		})
	}
}

// A kill leaves the autoscaler with less than all, never with more; the next
// process begins anew.
func TestReportsAndAKill(t *testing.T) {
	t.Parallel()
	s, m, a := newSigner(t), newModel(t, nil), newScaler(t, nil)
	total := 0
	for range 2 {
		u := start(t, reporting(m, s, a.URL)).ready()
		u.serveIndexed(t, s, total+1, 10)
		before := a.tried()
		require.Eventually(t, func() bool { return a.tried() > before }, patience, time.Millisecond)
		u.serveIndexed(t, s, total+11, 10)
		total += 20
		u.kill()
	}
	require.LessOrEqual(t, a.sum("cur_perf"), float64(10*total))
	require.GreaterOrEqual(t, a.sum("cur_perf"), 200.0)
	seen := map[any]bool{}
	for _, e := range a.ends() {
		require.False(t, seen[e["request_idx"]])
		seen[e["request_idx"]] = true
	}
	highest := 0.0
	for _, r := range a.reports() {
		highest = max(highest, r["num_requests_recieved"].(float64))
	}
	require.LessOrEqual(t, highest, 20.0, "of one process")
}

// A worker that is loading lets nothing in, says so and why, and is never loading
// again.
func TestLoading(t *testing.T) {
	t.Parallel()
	s, a := newSigner(t), newScaler(t, nil)
	m := newModel(t, nil)
	m.sick.Store(true)
	u := start(t, reporting(m, s, a.URL))
	early := s.ticket()
	resp, err := http.Post("http://"+u.public+"/v1/completions", "application/json", strings.NewReader(string(early.flat(""))))
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.Equal(t, "loading", resp.Header.Get("X-Usher-Refusal"))
	require.NotEmpty(t, resp.Header.Get("Retry-After"))
	require.Contains(t, string(text), `"code":"loading"`)
	status, ready := u.get("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, ready, `"loaded":"waiting for the other checks"`)
	require.Zero(t, a.waitReport(t, "loading", func(map[string]any) bool { return true })["loadtime"])

	m.sick.Store(false)
	u.ready()
	_, ready = u.get("/readyz")
	require.Contains(t, ready, `"loaded":"ok"`)
	u.waitLine(`"msg":"loaded"`)
	a.waitReport(t, "loaded", func(r map[string]any) bool { return r["loadtime"].(float64) > 0 })
	resp, err = http.Post("http://"+u.public+"/v1/completions", "application/json", strings.NewReader(string(early.flat(""))))
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode, "its ticket stayed good")

	m.sick.Store(true)
	require.Eventually(t, func() bool { status, _ := u.get("/readyz"); return status != http.StatusOK }, patience, 10*time.Millisecond)
	_, ready = u.get("/readyz")
	require.Contains(t, ready, `"loaded":"ok"`)
	resp, err = http.Post("http://"+u.public+"/v1/completions", "application/json", strings.NewReader(string(s.ticket().flat(""))))
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode, "loaded once is for ever")
}

// A benchmark is made before anything is let in, at the model server itself; its
// figure is kept, and a drain ends it.
func TestBenchmarkAtTheStart(t *testing.T) {
	t.Parallel()
	s, a := newSigner(t), newScaler(t, nil)
	arrived, hold := make(chan string, 256), make(chan struct{})
	left := make(chan struct{}, 256)
	m := newModel(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/generate" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		arrived <- r.RemoteAddr
		select {
		case <-hold:
		case <-r.Context().Done():
			left <- struct{}{}
		}
	})
	file := t.TempDir() + "/benchmark"
	measuring := reporting(m, s, a.URL).with(env{
		"USHER_BENCHMARK": "", "USHER_BENCHMARK_RUNS": "3", "USHER_BENCHMARK_CONCURRENCY": "4", "USHER_BENCHMARK_FILE": file,
	})
	u := start(t, measuring)
	<-arrived
	status, ready := u.get("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, ready, `"loaded":"benchmark: warming up"`)
	_, page := u.get("/")
	require.Contains(t, page, "benchmark: warming up")
	require.Contains(t, page, "Not loaded yet")
	resp, err := http.Post("http://"+u.public+"/generate", "application/json", strings.NewReader(string(s.ticket().flat(""))))
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, "loading", resp.Header.Get("X-Usher-Refusal"))
	u.signal(syscall.SIGTERM)
	require.Zero(t, u.wait(), "a drain ends it")
	<-left
	require.NoFileExists(t, file)

	close(hold)
	u = start(t, measuring).ready()
	u.waitLine(`run 3 of 3`)
	for range 1 + 3*4 {
		<-arrived
	}
	require.Empty(t, arrived, "no more than that")
	report := a.waitReport(t, "measured", func(r map[string]any) bool { return r["max_perf"].(float64) > 0 })
	require.FileExists(t, file)
	require.Zero(t, u.metric(`usher_requests_total{route="/generate",outcome="ok"}`), "not through the public listener")
	require.Zero(t, report["num_requests_recieved"])
	u.kill()

	start(t, measuring).ready()
	require.Empty(t, arrived, "its figure was kept")
	kept := a.reports()
	a.waitReport(t, "the same", func(r map[string]any) bool {
		return len(a.reports()) > len(kept) && r["max_perf"] == report["max_perf"]
	})
}

// Reports of 2024: other fields, without the token, to every address.
func TestReportsOf2024(t *testing.T) {
	t.Parallel()
	s, m, a, b := newSigner(t), newModel(t, nil), newScaler(t, nil), newScaler(t, nil)
	u := start(t, reporting(m, s, a.URL, b.URL).with(env{"USHER_REPORT": "2024"})).ready()
	u.serveIndexed(t, s, 1, 5)
	for _, to := range []*scaler{a, b} {
		r := to.waitReport(t, "five", func(r map[string]any) bool { return r["num_requests_recieved"] == 5.0 })
		require.Len(t, r, 12)
		require.NotContains(t, r, "mtoken")
		require.Equal(t, 1500.0, r["max_perf"])
		require.Positive(t, r["cur_perf"])
		loadtimes := 0
		for _, r := range to.reports() {
			if r["loadtime"].(float64) > 0 {
				loadtimes++
			}
		}
		require.Equal(t, 1, loadtimes)
		require.Empty(t, to.ends())
	}
}

// An autoscaler that takes connections and never reads holds up no drain for
// longer than three seconds.
func TestDrainWithASilentAutoscaler(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	came := make(chan struct{}, 64)
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				_, _ = bufio.NewReader(c).ReadString('\n')
				came <- struct{}{}
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	s, m := newSigner(t), newModel(t, nil)
	u := start(t, reporting(m, s, "http://"+listener.Addr().String())).ready()
	u.serveIndexed(t, s, 1, 3)
	<-came
	begun := time.Now()
	u.signal(syscall.SIGTERM)
	require.Zero(t, u.wait())
	require.Less(t, time.Since(begun), patience)
	require.NotContains(t, strings.Join(u.log(), "\n"), masterToken)
}
