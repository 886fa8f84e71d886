package life

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// SIGTERM loses nothing while clients on kept connections send as fast as they are
// answered: every request that reached the model server is answered in full, and every
// other one is told that the worker is draining or finds it closed.
func TestDrainUnderLoad(t *testing.T) {
	t.Parallel()
	const clients, streams = 16, 8
	s, script := rig.NewSigner(t), rig.NewSteps()
	m := rig.NewModel(t, nil)
	m.Respond = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/generate_stream" {
			script.Serve(w, r)
			return
		}
		_, _ = io.WriteString(w, `{"generated_text":"ok"}`)
	}
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_DRAIN_DELAY": "300ms", "USHER_DRAIN_TIMEOUT": "10m"})).Ready()
	open := make([]*http.Response, streams)
	for i := range open {
		open[i] = u.Open(t.Context(), "/generate_stream", s.Ticket().Flat(""))
	}
	var served, last, refused, unexpected atomic.Int64
	var load sync.WaitGroup
	for range clients {
		client := &http.Client{Timeout: rig.Patience, Transport: &http.Transport{}}
		t.Cleanup(client.CloseIdleConnections)
		load.Go(func() {
			for {
				// No GetBody, so that the transport does not send it twice.
				body := io.NopCloser(bytes.NewReader(s.Ticket().Flat("")))
				req, _ := http.NewRequest("POST", "http://"+u.Public+"/generate", body)
				resp, err := client.Do(req)
				if err != nil {
					return // closed: idle, or not listening any more
				}
				text, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				switch {
				case err == nil && resp.StatusCode == 200 && string(text) == `{"generated_text":"ok"}`:
					served.Add(1)
					if resp.Close { // only answers of the drain say so
						last.Add(1)
					}
				case err == nil && resp.StatusCode == 503 && resp.Header.Get("X-Usher-Refusal") == "draining" && resp.Close:
					refused.Add(1)
				default:
					unexpected.Add(1)
				}
			}
		})
	}
	require.Eventually(t, func() bool { return served.Load() > 10*clients }, rig.Patience, time.Millisecond)
	u.Signal(syscall.SIGTERM)
	load.Wait()
	require.Positive(t, last.Load(), "requests must be served during the delay")
	close(script.Events)
	for _, resp := range open {
		_, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		_ = resp.Body.Close()
	}
	require.Equal(t, 0, u.Wait())
	require.Zero(t, unexpected.Load())
	require.Len(t, m.Arrivals(), int(served.Load())+streams, "refused: %d", refused.Load())
}

// From the first moment Usher is neither ready nor healthy, but still serves. A second
// signal ends the delay; with nothing in flight, nothing is cut.
func TestDrainDelayServes(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{"USHER_DRAIN_DELAY": "1h"})).Ready()
	require.Equal(t, 200, u.Do("GET", "/health", nil, nil).Status)
	u.Signal(syscall.SIGTERM)
	u.WaitLine(`"msg":"draining"`)
	require.Equal(t, 503, u.Do("GET", "/health", nil, nil).Status)
	status, reasons := u.Get("/readyz")
	require.Equal(t, 503, status)
	require.Contains(t, reasons, `"draining":"yes"`)
	status, _ = u.Get("/livez")
	require.Equal(t, 200, status)
	require.Equal(t, 200, u.Post("/generate", s.Ticket().Flat("")).Status)
	u.Signal(syscall.SIGTERM)
	require.Equal(t, 0, u.Wait())
}

// Requests that wait when the drain begins still get their turn. At a second signal,
// or when time is up, they are told to go elsewhere.
func TestDrainWithRequestsWaiting(t *testing.T) {
	t.Parallel()
	const waiting = 5
	for name, cut := range map[string]func(*rig.Usher){
		"let finish":    nil,
		"second signal": func(u *rig.Usher) { u.Signal(syscall.SIGTERM) },
		"time-out":      func(*rig.Usher) {},
	} {
		t.Run(name, func(t *testing.T) {
			s, script := rig.NewSigner(t), rig.NewSteps()
			timeout := "10m"
			if name == "time-out" {
				timeout = "300ms"
			}
			m := rig.NewModel(t, script.Serve)
			u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_MAX_CONCURRENCY": "1", "USHER_DRAIN_TIMEOUT": timeout})).Ready()
			stream := u.Open(t.Context(), "/generate_stream", s.Ticket().Flat(""))
			defer func() { _ = stream.Body.Close() }()
			answers := make(chan rig.Answer, waiting)
			for range waiting {
				body := s.Ticket().Flat("")
				go func() { answers <- u.Post("/generate", body) }()
			}
			u.WaitMetric("usher_waiting", waiting)
			u.Signal(syscall.SIGTERM)
			u.WaitLine(`"msg":"draining"`)
			if cut == nil {
				close(script.Events)
				for range waiting {
					require.Equal(t, 200, (<-answers).Status)
				}
				require.Equal(t, 0, u.Wait())
				require.Len(t, m.Arrivals(), 1+waiting)
				return
			}
			cut(u)
			for range waiting {
				a := <-answers
				require.Equal(t, 503, a.Status)
				require.Equal(t, "draining", a.Code())
				require.NotEmpty(t, a.Header.Get("Retry-After"))
			}
			require.Equal(t, 1, u.Wait())
			require.Len(t, m.Arrivals(), 1, "the ticket of a request that only waited must not be spent")
		})
	}
}

// A dead model server does not hold up a drain: what is in flight breaks off, what
// arrives during the delay is told so, and nothing counts as cut.
func TestDrainWithTheModelServerDead(t *testing.T) {
	t.Parallel()
	s, script := rig.NewSigner(t), rig.NewSteps()
	m := rig.NewModel(t, script.Serve)
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_DRAIN_DELAY": "1h", "USHER_DRAIN_TIMEOUT": "1h"})).Ready()
	stream := u.Open(t.Context(), "/generate_stream", s.Ticket().Flat(""))
	defer func() { _ = stream.Body.Close() }()
	script.Events <- "data: 1\n\n"
	m.Listener.Close()
	m.CloseClientConnections()
	_, err := io.ReadAll(stream.Body)
	require.Error(t, err)
	u.Signal(syscall.SIGTERM)
	u.WaitLine(`"msg":"draining"`)
	require.Equal(t, "upstream_unreachable", u.Post("/generate", s.Ticket().Flat("")).Code())
	u.Signal(syscall.SIGTERM)
	require.Equal(t, 0, u.Wait())
}

// If a drain had to cut requests, the preStop hook is told so, and so is whoever waits
// for the exit status.
func TestDrainHookThatCuts(t *testing.T) {
	t.Parallel()
	s, script := rig.NewSigner(t), rig.NewSteps()
	u := rig.Start(t, rig.Settings(rig.NewModel(t, script.Serve), s).With(rig.Env{"USHER_DRAIN_TIMEOUT": "200ms"})).Ready()
	stream := u.Open(t.Context(), "/generate_stream", s.Ticket().Flat(""))
	defer func() { _ = stream.Body.Close() }()
	resp, err := (&http.Client{Timeout: rig.Patience}).Post("http://"+u.Admin+"/drain", "", nil)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	said, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.JSONEq(t, `{"drained":true,"cut":true}`, string(said))
	status, _ := u.Get("/livez")
	require.Equal(t, 200, status)
	u.Signal(syscall.SIGTERM)
	require.Equal(t, 1, u.Wait())
}
