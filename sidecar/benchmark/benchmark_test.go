package benchmark

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// modelServer is a model server inside the process, so that it uses synctest's time.
type modelServer struct {
	atomic.Int64 // requests
	mu           sync.Mutex
	bodies       []map[string]any
	models       func() string // the answer of /v1/models; nil: there are two
	answer       func(n int64) (status int, after time.Duration)
}

func (m *modelServer) RoundTrip(r *http.Request) (*http.Response, error) {
	status, after := 200, time.Duration(0)
	body := `{"data":[{"id":"the-model"},{"id":"another"}]}`
	if r.Method == http.MethodGet && m.models != nil {
		body = m.models()
	}
	if r.Method == http.MethodPost {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		var members map[string]any
		if err := json.Unmarshal(text, &members); err != nil {
			return nil, err
		}
		m.mu.Lock()
		m.bodies = append(m.bodies, members)
		m.mu.Unlock()
		status, after = m.answer(m.Add(1))
		body = ""
	}
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body))}, nil
}

func options() Options {
	return Options{
		Network: "tcp", Address: "127.0.0.1:1", Host: "model", Route: "/v1/completions", Work: 256,
		Runs: 3, Concurrency: 4, Timeout: time.Minute,
	}
}

func measure(t *testing.T, o Options, m *modelServer) *Benchmark {
	b, err := New(o)
	require.NoError(t, err)
	b.client.Transport = m
	return b
}

// The best of the runs counts, runs that fail are repeated, and the progress says how
// far it has come.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &modelServer{answer: func(n int64) (int, time.Duration) {
			switch {
			case n <= 2: // warming up, in vain at first
				return map[int64]int{1: 503, 2: 200}[n], 5 * time.Second
			case n <= 6: // run 1: slow, and half of it fails
				return []int{200, 500}[n%2], 4 * time.Second
			case n <= 10: // run 2: nothing is answered
				return 500, time.Second
			case n <= 14: // again
				return 200, 2 * time.Second
			}
			return 200, 3 * time.Second
		}}
		var seen []string
		o := options()
		o.Report = func(p Progress) { seen = append(seen, p.String()) }
		b := measure(t, o, m)
		require.Equal(t, Progress{Runs: 3}, b.Progress())
		figure, err := b.Run(t.Context())
		require.NoError(t, err)
		require.InDelta(t, 4*256/2.0, figure, 0.1)
		require.EqualValues(t, 2+4+4+4+4, m.Load())
		require.Equal(t, []string{
			"warming up: no request was answered with 200: /v1/completions answered 503",
			"run 1 of 3",
			"run 2 of 3, 128 workload/s so far",
			"run 2 of 3, 128 workload/s so far: no request was answered with 200: /v1/completions answered 500",
			"run 3 of 3, 512 workload/s so far",
			"512 workload/s",
		}, seen)
		prompts := map[any]bool{}
		for _, body := range m.bodies {
			require.Equal(t, "the-model", body["model"])
			require.Equal(t, 256.0, body["max_tokens"])
			prompts[body["prompt"]] = true
		}
		require.Len(t, prompts, len(m.bodies), "each another one")
	})
}

// A server that has no model yet, as Ollama while it pulls one, is asked again.
func TestModelThatComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		m := &modelServer{models: func() string {
			if asked++; asked < 3 {
				return `{"object":"list","data":null}`
			}
			return `{"data":[{"id":"pulled"}]}`
		}}
		m.answer = func(int64) (int, time.Duration) {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.bodies[len(m.bodies)-1]["model"] != "pulled" {
				return 404, time.Second
			}
			return 200, time.Second
		}
		figure, err := measure(t, options(), m).Run(t.Context())
		require.NoError(t, err)
		require.Positive(t, figure)
	})
}

func TestDefaultBodies(t *testing.T) {
	for _, c := range []struct{ route, engine, want string }{
		{"/generate", "", `{"inputs":"p","parameters":{"max_new_tokens":256}}`},
		{"/generate_stream", "tgi", `{"inputs":"p","parameters":{"max_new_tokens":256}}`},
		{"/generate", "sglang", `{"text":"p","sampling_params":{"max_new_tokens":256}}`},
		{"/v1/completions", "", `{"prompt":"p","max_tokens":256}`},
		{"/v1/chat/completions", "", `{"messages":[{"role":"user","content":"p"}],"max_tokens":256}`},
		{"/api/generate", "ollama", `{"prompt":"p","stream":false,"options":{"num_predict":256}}`},
	} {
		template, ok := DefaultBody(c.route, c.engine)
		require.True(t, ok)
		text, err := json.Marshal(template("", "p"))
		require.NoError(t, err)
		require.JSONEq(t, c.want, string(text))
	}
	o := options()
	o.Route = "/mine"
	_, err := New(o)
	require.Error(t, err)
	o.Body = []byte(`{}`)
	_, err = New(o)
	require.NoError(t, err)
	for _, wrong := range []func(*Options){
		func(o *Options) { o.Runs = 0 }, func(o *Options) { o.Concurrency = 0 },
		func(o *Options) { o.Work = 0 }, func(o *Options) { o.Timeout = 0 },
	} {
		o := options()
		wrong(&o)
		_, err := New(o)
		require.Error(t, err)
	}
}

// A figure is kept for as long as nothing changes.
func TestFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), ".has_benchmark")
	run := func(change func(*Options)) (requests int64, b *Benchmark) {
		m := &modelServer{answer: func(int64) (int, time.Duration) { return 200, 0 }}
		o := options()
		o.File = file
		change(&o)
		b = measure(t, o, m)
		figure, err := b.Run(t.Context())
		require.NoError(t, err)
		require.Positive(t, figure)
		require.True(t, b.Progress().Done)
		require.Equal(t, figure, b.Progress().Best)
		return m.Load(), b
	}
	same := func(*Options) {}
	require.NoError(t, os.WriteFile(file, []byte("1234.5\n"), 0o600))
	n, b := run(same)
	require.Zero(t, n, "the Python worker's")
	require.Equal(t, 1234.5, b.Progress().Best)
	require.True(t, b.Progress().Kept)
	require.NoError(t, os.Remove(file))

	const whole = 1 + 3*4
	n, first := run(same)
	require.EqualValues(t, whole, n)
	n, again := run(same)
	require.Zero(t, n)
	require.Equal(t, first.Progress().Best, again.Progress().Best)
	for _, change := range []func(*Options){
		func(o *Options) { o.Engine = "vllm" },
		func(o *Options) { o.Body = []byte(`{"prompt":"mine"}`) },
		func(o *Options) { o.Body = []byte(`{"prompt":"yours"}`) },
		func(o *Options) { o.Route = "/v1/chat/completions" },
	} {
		n, _ = run(change)
		require.EqualValues(t, whole, n)
		n, _ = run(change)
		require.Zero(t, n)
	}
	n, _ = run(func(o *Options) { o.Concurrency = 2 })
	require.EqualValues(t, 1+3*2, n)
	for _, rubbish := range []string{"", "fast\n", "0\n", "-1", "Inf", "NaN", "17\n{\n"} {
		require.NoError(t, os.WriteFile(file, []byte(rubbish), 0o600))
		n, b = run(same)
		require.EqualValues(t, whole, n, "%q", rubbish)
		require.Error(t, b.Progress().File, "%q", rubbish)
		n, _ = run(same)
		require.Zero(t, n, "mended")
	}
	_, b = run(func(o *Options) { o.File = filepath.Join(file, "no-folder") })
	require.Error(t, b.Progress().File)
	left, err := filepath.Glob(file + ".*")
	require.NoError(t, err)
	require.Empty(t, left)
}

// After ctx ends nothing is left at the model server, whatever was going on.
func TestCancelled(t *testing.T) {
	arrived := make(chan struct{}, 16)
	left := make(chan struct{}, 16)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			http.NotFound(w, r)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		arrived <- struct{}{}
		<-r.Context().Done()
		left <- struct{}{}
	}))
	defer server.Close()
	o := options()
	o.Address = strings.TrimPrefix(server.URL, "http://")
	b, err := New(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := b.Run(ctx); done <- err }()
	<-arrived
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	<-left
	require.False(t, b.Progress().Done)
	require.Empty(t, b.Progress().Problem)

	synctest.Test(t, func(t *testing.T) { // between two tries
		ctx, cancel := context.WithCancel(t.Context())
		b := measure(t, options(), &modelServer{answer: func(int64) (int, time.Duration) { return 500, 0 }})
		done := make(chan error, 1)
		go func() { _, err := b.Run(ctx); done <- err }()
		synctest.Wait()
		require.NotEmpty(t, b.Progress().Problem)
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	})
}

// It reaches a model server on a Unix socket, below a prefix, and with an API key.
func TestWhereTheModelServerIs(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "model")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	var got atomic.Pointer[http.Request]
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got.Store(r) })}
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()
	o := options()
	o.Network, o.Address, o.Host, o.PathPrefix, o.Authorization = "unix", socket, "localhost", "/below", "Bearer own"
	b, err := New(o)
	require.NoError(t, err)
	_, err = b.Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, "/below/v1/completions", got.Load().URL.Path)
	require.Equal(t, "Bearer own", got.Load().Header.Get("Authorization"))
	require.Equal(t, "application/json", got.Load().Header.Get("Content-Type"))
}

func TestFigure(t *testing.T) {
	for figure, want := range map[float64]string{0: "0", 0.1234: "0.123", 3.7249: "3.72", 99: "99", 100: "100", 1240.4: "1,240", 1234567: "1,234,567"} {
		require.Equal(t, want, Figure(figure))
	}
}
