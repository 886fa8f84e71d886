package report

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

	"github.com/usher-sidecar/usher/test/loopback"
	"github.com/usher-sidecar/usher/test/rig"
)

// serveIndexed sends signed requests with a cost of 10 and an index, and requires that
// each is answered 200.
func serveIndexed(u *rig.Usher, t testing.TB, s *rig.Signer, from, n int) {
	t.Helper()
	for i := range n {
		sent := time.Now()
		resp, err := http.Post("http://"+u.Public+"/generate", "application/json", strings.NewReader(string(s.Indexed("10.0", strconv.Itoa(from+i)).Flat(""))))
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Less(t, time.Since(sent), 5*time.Second, "a request waited for the autoscaler")
	}
}

// allTold waits until n requests of cost 10 have been reported, and checks that none
// was reported twice.
func allTold(a *rig.Scaler, t testing.TB, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return a.Sum("cur_perf") >= float64(10*n) && len(a.Ends()) >= n }, rig.Patience, 10*time.Millisecond,
		"%v of %d, %d ends", a.Sum("cur_perf"), 10*n, len(a.Ends()))
	require.Equal(t, float64(10*n), a.Sum("cur_perf"))
	require.Equal(t, float64(10*n), a.Sum("new_load"))
	seen := map[any]bool{}
	for _, e := range a.Ends() {
		require.False(t, seen[e["request_idx"]], "%v twice", e["request_idx"])
		seen[e["request_idx"]] = true
	}
	require.Len(t, seen, n)
}

// Whatever the autoscaler does, requests pass, and each is reported once.
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
				_, _ = fmt.Fprintf(conn, "%s is no HTTP\r\n\r\n", rig.MasterToken)
				_ = conn.Close()
			}
		}, false},
		"is dead":                      {nil, false},
		"is dead, the next one is not": {nil, true},
	} {
		rig.SideBySide(t, &cases, name, func(t *testing.T) {
			s, m := rig.NewSigner(t), rig.NewModel(t, nil)
			bad, good := rig.NewScaler(t, c.behave), rig.NewScaler(t, nil)
			addresses := []string{bad.URL}
			told := bad
			if c.second {
				addresses, told = append(addresses, good.URL), good
			}
			if c.behave == nil {
				bad.Close()
			}
			comesBack := func() {
				listener, err := loopback.ListenAt(strings.TrimPrefix(bad.URL, "http://"))
				require.NoError(t, err)
				again := &http.Server{Handler: http.HandlerFunc(bad.Serve)}
				go func() { _ = again.Serve(listener) }()
				t.Cleanup(func() { _ = again.Close() })
			}
			u := rig.Start(t, rig.Reporting(m, s, addresses...)).Ready()
			serveIndexed(u, t, s, 1, early)
			if c.behave != nil {
				require.Eventually(t, func() bool { return bad.Tried() > 0 }, rig.Patience, time.Millisecond)
			}
			if !c.second {
				u.WaitLine(`"msg":"the autoscaler does not accept reports"`)
				require.Empty(t, bad.Reports())
				bad.Behave(nil) // it comes to its senses
				if c.behave == nil {
					comesBack()
				}
			}
			serveIndexed(u, t, s, 100, n-early)
			allTold(told, t, n)
			if !c.second {
				u.WaitLine(`"msg":"the autoscaler accepts reports again"`)
			}
			require.NotContains(t, strings.Join(u.Log(), "\n"), rig.MasterToken)
			require.Zero(t, u.Metric("usher_reports_dropped_total"))
		})
	}
	cases.Wait()
	require.Empty(t, elsewhere, "the token was sent to a redirect's target")
}

// A report is acknowledged by any 2xx, whatever else the answer holds and however late
// it comes.
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
		rig.SideBySide(t, &cases, name, func(t *testing.T) {
			s, m := rig.NewSigner(t), rig.NewModel(t, nil)
			a := new(rig.Scaler)
			a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				a.Keep(r.URL.Path, body)
				answer(w, r)
			}))
			t.Cleanup(a.Close)
			u := rig.Start(t, rig.Reporting(m, s, a.URL)).Ready()
			serveIndexed(u, t, s, 1, 20)
			allTold(a, t, 20)
		})
	}
}

// After a kill the autoscaler may have heard of fewer requests, never of more; the
// next process starts afresh.
func TestReportsAndAKill(t *testing.T) {
	t.Parallel()
	s, m, a := rig.NewSigner(t), rig.NewModel(t, nil), rig.NewScaler(t, nil)
	total := 0
	for range 2 {
		u := rig.Start(t, rig.Reporting(m, s, a.URL)).Ready()
		before := a.Sum("cur_perf")
		serveIndexed(u, t, s, total+1, 10)
		require.Eventually(t, func() bool { return a.Sum("cur_perf") >= before+100 }, rig.Patience, time.Millisecond)
		serveIndexed(u, t, s, total+11, 10)
		total += 20
		u.Kill()
	}
	require.LessOrEqual(t, a.Sum("cur_perf"), float64(10*total))
	require.GreaterOrEqual(t, a.Sum("cur_perf"), 200.0)
	seen := map[any]bool{}
	for _, e := range a.Ends() {
		require.False(t, seen[e["request_idx"]])
		seen[e["request_idx"]] = true
	}
	highest := 0.0
	for _, r := range a.Reports() {
		highest = max(highest, r["num_requests_recieved"].(float64))
	}
	require.LessOrEqual(t, highest, 20.0, "of one process")
}

// A worker that is loading lets nothing in and says why; once loaded, it never goes
// back.
func TestLoading(t *testing.T) {
	t.Parallel()
	s, a := rig.NewSigner(t), rig.NewScaler(t, nil)
	m := rig.NewModel(t, nil)
	m.Sick.Store(true)
	u := rig.Start(t, rig.Reporting(m, s, a.URL))
	early := s.Ticket()
	resp, err := http.Post("http://"+u.Public+"/v1/completions", "application/json", strings.NewReader(string(early.Flat(""))))
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.Equal(t, "loading", resp.Header.Get("X-Usher-Refusal"))
	require.NotEmpty(t, resp.Header.Get("Retry-After"))
	require.Contains(t, string(text), `"code":"loading"`)
	status, ready := u.Get("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, ready, `"loaded":"waiting for the other checks"`)
	require.Zero(t, a.WaitReport(t, "loading", func(map[string]any) bool { return true })["loadtime"])

	m.Sick.Store(false)
	u.Ready()
	_, ready = u.Get("/readyz")
	require.Contains(t, ready, `"loaded":"ok"`)
	u.WaitLine(`"msg":"loaded"`)
	a.WaitReport(t, "loaded", func(r map[string]any) bool { return r["loadtime"].(float64) > 0 })
	resp, err = http.Post("http://"+u.Public+"/v1/completions", "application/json", strings.NewReader(string(early.Flat(""))))
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode, "a ticket refused while loading must stay good")

	m.Sick.Store(true)
	require.Eventually(t, func() bool { status, _ := u.Get("/readyz"); return status != http.StatusOK }, rig.Patience, 10*time.Millisecond)
	_, ready = u.Get("/readyz")
	require.Contains(t, ready, `"loaded":"ok"`)
	resp, err = http.Post("http://"+u.Public+"/v1/completions", "application/json", strings.NewReader(string(s.Ticket().Flat(""))))
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode, "a worker that has loaded must not be loading again")
}

// The benchmark runs before anything is let in, against the model server itself. Its
// result is kept, and a drain ends it.
func TestBenchmarkAtTheStart(t *testing.T) {
	t.Parallel()
	s, a := rig.NewSigner(t), rig.NewScaler(t, nil)
	arrived, hold := make(chan string, 256), make(chan struct{})
	left := make(chan struct{}, 256)
	m := rig.NewModel(t, func(w http.ResponseWriter, r *http.Request) {
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
	measuring := rig.Reporting(m, s, a.URL).With(rig.Env{
		"USHER_BENCHMARK": "", "USHER_BENCHMARK_RUNS": "3", "USHER_BENCHMARK_CONCURRENCY": "4", "USHER_BENCHMARK_FILE": file,
	})
	u := rig.Start(t, measuring)
	<-arrived
	status, ready := u.Get("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, ready, `"loaded":"benchmark: warming up"`)
	_, page := u.Get("/")
	require.Contains(t, page, "benchmark: warming up")
	require.Contains(t, page, "Not loaded yet")
	resp, err := http.Post("http://"+u.Public+"/generate", "application/json", strings.NewReader(string(s.Ticket().Flat(""))))
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, "loading", resp.Header.Get("X-Usher-Refusal"))
	u.Signal(syscall.SIGTERM)
	require.Zero(t, u.Wait(), "a drain must end the benchmark")
	<-left
	require.NoFileExists(t, file)

	close(hold)
	u = rig.Start(t, measuring).Ready()
	u.WaitLine(`run 3 of 3`)
	for range 1 + 3*4 {
		<-arrived
	}
	require.Empty(t, arrived, "no more than that")
	report := a.WaitReport(t, "measured", func(r map[string]any) bool { return r["max_perf"].(float64) > 0 })
	require.FileExists(t, file)
	require.Zero(t, u.Metric(`usher_requests_total{route="/generate",outcome="ok"}`), "the benchmark must not go through the public listener")
	require.Zero(t, report["num_requests_recieved"])
	u.Kill()

	kept := a.Reports()
	rig.Start(t, measuring).Ready()
	require.Empty(t, arrived, "the benchmark's result must be kept")
	a.WaitReport(t, "the same", func(r map[string]any) bool {
		return len(a.Reports()) > len(kept) && r["max_perf"] == report["max_perf"]
	})
}

// Reports in the format of 2024: other fields, no token, to every address.
func TestReportsOf2024(t *testing.T) {
	t.Parallel()
	s, m, a, b := rig.NewSigner(t), rig.NewModel(t, nil), rig.NewScaler(t, nil), rig.NewScaler(t, nil)
	u := rig.Start(t, rig.Reporting(m, s, a.URL, b.URL).With(rig.Env{"USHER_REPORT": "2024"})).Ready()
	serveIndexed(u, t, s, 1, 5)
	for _, to := range []*rig.Scaler{a, b} {
		r := to.WaitReport(t, "five", func(r map[string]any) bool { return r["num_requests_recieved"] == 5.0 })
		require.Len(t, r, 12)
		require.NotContains(t, r, "mtoken")
		require.Equal(t, 1500.0, r["max_perf"])
		require.Positive(t, r["cur_perf"])
		loadtimes := 0
		for _, r := range to.Reports() {
			if r["loadtime"].(float64) > 0 {
				loadtimes++
			}
		}
		require.Equal(t, 1, loadtimes)
		require.Empty(t, to.Ends())
	}
}

// An autoscaler that accepts connections and never reads holds up a drain for no
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
	s, m := rig.NewSigner(t), rig.NewModel(t, nil)
	u := rig.Start(t, rig.Reporting(m, s, "http://"+listener.Addr().String())).Ready()
	serveIndexed(u, t, s, 1, 3)
	<-came
	begun := time.Now()
	u.Signal(syscall.SIGTERM)
	require.Zero(t, u.Wait())
	require.Less(t, time.Since(begun), rig.Patience)
	require.NotContains(t, strings.Join(u.Log(), "\n"), rig.MasterToken)
}
