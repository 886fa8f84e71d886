package test

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
)

// While clients on kept connections send as fast as they are answered, SIGTERM
// loses nothing: each request that reached the model server is answered whole,
// and each other one is told that the worker is draining or finds it closed.
func TestDrainUnderLoad(t *testing.T) {
	t.Parallel()
	const clients, streams = 16, 8
	s, script := newSigner(t), newSteps()
	m := newModel(t, nil)
	m.respond = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/generate_stream" {
			script.serve(w, r)
			return
		}
		_, _ = io.WriteString(w, `{"generated_text":"ok"}`)
	}
	u := start(t, settings(m, s).with(env{"USHER_DRAIN_DELAY": "300ms", "USHER_DRAIN_TIMEOUT": "10m"})).ready()
	open := make([]*http.Response, streams)
	for i := range open {
		open[i] = u.open(t.Context(), "/generate_stream", s.ticket().flat(""))
	}
	var served, refused, unexpected atomic.Int64
	var load sync.WaitGroup
	for range clients {
		client := &http.Client{Timeout: patience, Transport: &http.Transport{}}
		t.Cleanup(client.CloseIdleConnections)
		load.Go(func() {
			for {
				// No GetBody, so that the transport does not send it twice.
				body := io.NopCloser(bytes.NewReader(s.ticket().flat("")))
				req, _ := http.NewRequest("POST", "http://"+u.public+"/generate", body)
				resp, err := client.Do(req)
				if err != nil {
					return // closed: idle, or not listening any more
				}
				text, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				switch {
				case err == nil && resp.StatusCode == 200 && string(text) == `{"generated_text":"ok"}`:
					served.Add(1)
				case err == nil && resp.StatusCode == 503 && resp.Header.Get("X-Usher-Refusal") == "draining" && resp.Close:
					refused.Add(1)
				default:
					unexpected.Add(1)
				}
			}
		})
	}
	require.Eventually(t, func() bool { return served.Load() > 10*clients }, patience, time.Millisecond)
	u.signal(syscall.SIGTERM)
	u.waitLine(`"msg":"draining"`)
	during := served.Load()
	load.Wait()
	require.Greater(t, served.Load(), during, "the delay is time to serve")
	close(script.send)
	for _, resp := range open {
		_, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		_ = resp.Body.Close()
	}
	require.Equal(t, 0, u.wait())
	require.Zero(t, unexpected.Load())
	require.Len(t, m.arrivals(), int(served.Load())+streams, "refused: %d", refused.Load())
}

// Not ready and not healthy from the first moment, and served all the same; a
// second signal ends the delay, and with nothing in flight nothing is cut.
func TestDrainDelayServes(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	u := start(t, settings(newModel(t, nil), s).with(env{"USHER_DRAIN_DELAY": "1h"})).ready()
	require.Equal(t, 200, u.do("GET", "/health", nil, nil).status)
	u.signal(syscall.SIGTERM)
	u.waitLine(`"msg":"draining"`)
	require.Equal(t, 503, u.do("GET", "/health", nil, nil).status)
	status, reasons := u.get("/readyz")
	require.Equal(t, 503, status)
	require.Contains(t, reasons, `"draining":"yes"`)
	status, _ = u.get("/livez")
	require.Equal(t, 200, status)
	require.Equal(t, 200, u.post("/generate", s.ticket().flat("")).status)
	u.signal(syscall.SIGTERM)
	require.Equal(t, 0, u.wait())
}

// Requests that wait when the drain begins have their turn; with a second
// signal, or at the end of the time, they are told to go elsewhere.
func TestDrainWithRequestsWaiting(t *testing.T) {
	t.Parallel()
	const waiting = 5
	for name, cut := range map[string]func(*usher){
		"let finish":    nil,
		"second signal": func(u *usher) { u.signal(syscall.SIGTERM) },
		"time-out":      func(*usher) {},
	} {
		t.Run(name, func(t *testing.T) {
			s, script := newSigner(t), newSteps()
			timeout := "10m"
			if name == "time-out" {
				timeout = "300ms"
			}
			m := newModel(t, script.serve)
			u := start(t, settings(m, s).with(env{"USHER_MAX_CONCURRENCY": "1", "USHER_DRAIN_TIMEOUT": timeout})).ready()
			stream := u.open(t.Context(), "/generate_stream", s.ticket().flat(""))
			defer func() { _ = stream.Body.Close() }()
			answers := make(chan answer, waiting)
			for range waiting {
				body := s.ticket().flat("")
				go func() { answers <- u.post("/generate", body) }()
			}
			require.Eventually(t, func() bool { return u.metric("usher_waiting") == waiting }, patience, time.Millisecond)
			u.signal(syscall.SIGTERM)
			u.waitLine(`"msg":"draining"`)
			if cut == nil {
				close(script.send)
				for range waiting {
					require.Equal(t, 200, (<-answers).status)
				}
				require.Equal(t, 0, u.wait())
				require.Len(t, m.arrivals(), 1+waiting)
				return
			}
			cut(u)
			for range waiting {
				a := <-answers
				require.Equal(t, 503, a.status)
				require.Equal(t, "draining", a.code())
				require.NotEmpty(t, a.header.Get("Retry-After"))
			}
			require.Equal(t, 1, u.wait())
			require.Len(t, m.arrivals(), 1, "a cut ticket stays unspent")
		})
	}
}

// A model server that is dead holds no drain up: what is in flight breaks off,
// what comes during the delay is told, and nothing is counted as cut.
func TestDrainWithTheModelServerDead(t *testing.T) {
	t.Parallel()
	s, script := newSigner(t), newSteps()
	m := newModel(t, script.serve)
	u := start(t, settings(m, s).with(env{"USHER_DRAIN_DELAY": "1h", "USHER_DRAIN_TIMEOUT": "1h"})).ready()
	stream := u.open(t.Context(), "/generate_stream", s.ticket().flat(""))
	defer func() { _ = stream.Body.Close() }()
	script.send <- "data: 1\n\n"
	m.Listener.Close()
	m.CloseClientConnections()
	_, err := io.ReadAll(stream.Body)
	require.Error(t, err)
	u.signal(syscall.SIGTERM)
	u.waitLine(`"msg":"draining"`)
	require.Equal(t, "upstream_unreachable", u.post("/generate", s.ticket().flat("")).code())
	u.signal(syscall.SIGTERM)
	require.Equal(t, 0, u.wait())
}

// A preStop hook that had to cut is told so, and so is who waits for the exit.
func TestDrainHookThatCuts(t *testing.T) {
	t.Parallel()
	s, script := newSigner(t), newSteps()
	u := start(t, settings(newModel(t, script.serve), s).with(env{"USHER_DRAIN_TIMEOUT": "200ms"})).ready()
	stream := u.open(t.Context(), "/generate_stream", s.ticket().flat(""))
	defer func() { _ = stream.Body.Close() }()
	resp, err := (&http.Client{Timeout: patience}).Post("http://"+u.admin+"/drain", "", nil)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	said, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.JSONEq(t, `{"drained":true,"cut":true}`, string(said))
	status, _ := u.get("/livez")
	require.Equal(t, 200, status)
	u.signal(syscall.SIGTERM)
	require.Equal(t, 1, u.wait())
}
