package test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A ticket spent before a SIGKILL is refused after it; one that was not is not.
func TestReplayAcrossSIGKILL(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	m := newModel(t, nil)
	state := filepath.Join(t.TempDir(), "window")
	with := settings(m, s).with(env{"USHER_STATE_FILE": state})
	spent, unspent := s.ticket(), s.ticket()
	last := s.ticket()
	u := start(t, with)
	require.Equal(t, 200, u.post("/generate", spent.flat("")).status)
	require.Equal(t, 200, u.post("/generate", last.flat("")).status)
	u.kill()

	u = start(t, with)
	require.Equal(t, "reqnum_replayed", u.post("/generate", spent.flat("")).code())
	require.Equal(t, "reqnum_replayed", u.post("/generate", last.flat("")).code())
	require.Equal(t, 200, u.post("/generate", unspent.flat("")).status)
	u.kill()

	for name, change := range map[string]env{
		"another endpoint": {"USHER_ENDPOINT": "other"},
		"another url":      {"USHER_WORKER_URL": "http://203.0.113.9:1"},
		"another window":   {"USHER_REPLAY_WINDOW": "100"},
	} {
		u = launch(t, with.with(change))
		require.Equal(t, 2, u.wait(), name)
		require.Contains(t, u.log()[len(u.log())-1], state, name)
	}
	damaged, err := os.ReadFile(state)
	require.NoError(t, err)
	damaged[0] ^= 1
	require.NoError(t, os.WriteFile(state, damaged, 0o600))
	u = launch(t, with)
	require.Equal(t, 2, u.wait())
	require.Contains(t, u.log()[len(u.log())-1], state)
}

// Streams that are open when SIGTERM comes are let finish; status 0.
func TestDrainLetsStreamsFinish(t *testing.T) {
	t.Parallel()
	s, script := newSigner(t), newSteps()
	u := start(t, settings(newModel(t, script.serve), s).with(env{"USHER_DRAIN_DELAY": "300ms"})).ready()
	resp := u.open(t.Context(), "/generate_stream", s.ticket().flat(""))
	defer func() { _ = resp.Body.Close() }()
	script.send <- "data: 1\n\n"
	u.signal(syscall.SIGTERM)
	require.Eventually(t, func() bool {
		status, _ := u.get("/readyz")
		return status == 503
	}, patience, time.Millisecond)
	// During the delay requests are still served.
	served := make(chan answer, 1)
	go func() { served <- u.post("/generate", s.ticket().flat("")) }()
	script.send <- "data: 2\n\n"
	script.send <- "data: 3\n\n"
	close(script.send)
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	second := (<-served).body
	require.Len(t, string(got)+second, 3*len("data: 1\n\n"))
	require.Equal(t, 0, u.wait())
}

func TestDrainCutsWhatDoesNotFinish(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*usher){
		"time-out":      func(*usher) {},
		"second signal": func(u *usher) { u.signal(syscall.SIGTERM) },
	} {
		t.Run(name, func(t *testing.T) {
			s, script := newSigner(t), newSteps()
			timeout := "200ms"
			if name == "second signal" {
				timeout = "1h"
			}
			u := start(t, settings(newModel(t, script.serve), s).with(env{"USHER_DRAIN_TIMEOUT": timeout})).ready()
			resp := u.open(t.Context(), "/generate_stream", s.ticket().flat(""))
			defer func() { _ = resp.Body.Close() }()
			script.send <- "data: 1\n\n"
			u.signal(syscall.SIGTERM)
			u.waitLine(`"msg":"draining"`)
			end(u)
			_, err := io.ReadAll(resp.Body)
			require.Error(t, err)
			require.Equal(t, 1, u.wait())
		})
	}
}

// POST /drain answers when nothing is in flight, and the process stays.
func TestDrainHook(t *testing.T) {
	t.Parallel()
	s, script := newSigner(t), newSteps()
	u := start(t, settings(newModel(t, script.serve), s)).ready()
	resp := u.open(t.Context(), "/generate_stream", s.ticket().flat(""))
	defer func() { _ = resp.Body.Close() }()
	answered := make(chan int, 1)
	go func() {
		resp, err := http.Post("http://"+u.admin+"/drain", "", nil)
		if err != nil {
			answered <- -1
			return
		}
		_ = resp.Body.Close()
		answered <- resp.StatusCode
	}()
	u.waitLine(`"msg":"draining"`)
	select {
	case <-answered:
		require.Fail(t, "answered with a stream in flight")
	case script.send <- "data: 1\n\n":
	}
	close(script.send)
	_, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, 200, <-answered)
	status, _ := u.get("/livez")
	require.Equal(t, 200, status)
	u.signal(syscall.SIGTERM)
	require.Equal(t, 0, u.wait())
}

// A connection kept open across the drain is told, and closed.
func TestDrainingOnAKeptConnection(t *testing.T) {
	t.Parallel()
	s, script := newSigner(t), newSteps()
	// The delay is time for Usher to read the half request below: an idle
	// connection would be closed.
	u := start(t, settings(newModel(t, script.serve), s).with(env{"USHER_DRAIN_DELAY": "300ms"})).ready()
	stream := u.open(t.Context(), "/generate_stream", s.ticket().flat(""))
	defer func() { _ = stream.Body.Close() }()
	kept := dial(t, u.public)
	kept.request("GET", "/ping", nil)
	require.Contains(t, kept.response(), "pong")
	// Half a request, so that the connection is not idle when the drain begins.
	body := string(s.ticket().flat(""))
	kept.write("POST /generate HTTP/1.1\r\nHost: a\r\n")
	u.signal(syscall.SIGTERM)
	u.waitLine(`"msg":"draining"`)
	require.Eventually(t, func() bool { return refused(u.public) }, patience, time.Millisecond)
	kept.write("Content-Length: " + itoa(len(body)) + "\r\n\r\n" + body)
	got := kept.response()
	require.Contains(t, got, "503")
	require.Contains(t, got, `"draining"`)
	require.True(t, kept.closed())
	close(script.send)
	require.Equal(t, 0, u.wait())
}

func TestExitStatuses(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	m := newModel(t, nil)
	taken := start(t, settings(m, s))
	u := launch(t, settings(m, s).with(env{"USHER_LISTEN_ADDR": taken.public}))
	require.Equal(t, 1, u.wait())

	u = launch(t, env{"USHER_LISTEN_ADDR": "", "USHER_ADMIN_ADDR": "", "USHER_QUEUE_TIMEOUT": "30", "USHER_COST_POLICY": "maybe"})
	require.Equal(t, 2, u.wait())
	said := ""
	for _, line := range u.log() {
		said += line + "\n"
	}
	for _, variable := range []string{"USHER_ENDPOINT", "USHER_WORKER_URL", "USHER_PUBLIC_KEY", "USHER_QUEUE_TIMEOUT", "USHER_COST_POLICY"} {
		require.Contains(t, said, variable)
	}
}

func TestHealthAndPing(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	m := newModel(t, nil)
	u := start(t, settings(m, s)).ready()
	require.Equal(t, 200, u.do("GET", "/health", nil, nil).status)
	require.Equal(t, 200, u.do("HEAD", "/health", nil, nil).status)
	require.Equal(t, "pong", u.do("GET", "/ping", nil, nil).body)
	m.CloseClientConnections()
	m.Close()
	require.Eventually(t, func() bool { return u.do("GET", "/health", nil, nil).status == 503 }, patience, 10*time.Millisecond)
	status, body := u.get("/readyz")
	require.Equal(t, 503, status)
	require.Contains(t, body, "upstream")
}
