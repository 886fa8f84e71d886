package life

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// A ticket spent before a SIGKILL is refused afterwards; one that was not spent is
// accepted.
func TestReplayAcrossSIGKILL(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	state := filepath.Join(t.TempDir(), "window")
	with := rig.Settings(m, s).With(rig.Env{"USHER_STATE_FILE": state})
	spent, unspent := s.Ticket(), s.Ticket()
	last := s.Ticket()
	u := rig.Start(t, with)
	require.Equal(t, 200, u.Post("/generate", spent.Flat("")).Status)
	require.Equal(t, 200, u.Post("/generate", last.Flat("")).Status)
	u.Kill()

	u = rig.Start(t, with)
	require.Equal(t, "reqnum_replayed", u.Post("/generate", spent.Flat("")).Code())
	require.Equal(t, "reqnum_replayed", u.Post("/generate", last.Flat("")).Code())
	require.Equal(t, 200, u.Post("/generate", unspent.Flat("")).Status)
	u.Kill()

	for name, change := range map[string]rig.Env{
		"another endpoint": {"USHER_ENDPOINT": "other"},
		"another url":      {"USHER_WORKER_URL": "http://203.0.113.9:1"},
		"another window":   {"USHER_REPLAY_WINDOW": "100"},
	} {
		u = rig.Launch(t, with.With(change))
		require.Equal(t, 2, u.Wait(), name)
		require.Contains(t, u.Log()[len(u.Log())-1], state, name)
	}
	damaged, err := os.ReadFile(state)
	require.NoError(t, err)
	damaged[0] ^= 1
	require.NoError(t, os.WriteFile(state, damaged, 0o600))
	u = rig.Launch(t, with)
	require.Equal(t, 2, u.Wait())
	require.Contains(t, u.Log()[len(u.Log())-1], state)
}

// Streams that are open at SIGTERM may finish, and the exit status is 0.
func TestDrainLetsStreamsFinish(t *testing.T) {
	t.Parallel()
	s, script := rig.NewSigner(t), rig.NewSteps()
	u := rig.Start(t, rig.Settings(rig.NewModel(t, script.Serve), s)).Ready()
	resp := u.Open(t.Context(), "/generate_stream", s.Ticket().Flat(""))
	defer func() { _ = resp.Body.Close() }()
	script.Events <- "data: 1\n\n"
	u.Signal(syscall.SIGTERM)
	require.Eventually(t, func() bool { return rig.Refused(u.Public) }, rig.Patience, time.Millisecond)
	script.Events <- "data: 2\n\n"
	script.Events <- "data: 3\n\n"
	close(script.Events)
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Len(t, got, 3*len("data: 1\n\n"))
	require.Equal(t, 0, u.Wait())
}

func TestDrainCutsWhatDoesNotFinish(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*rig.Usher){
		"time-out":      func(*rig.Usher) {},
		"second signal": func(u *rig.Usher) { u.Signal(syscall.SIGTERM) },
	} {
		t.Run(name, func(t *testing.T) {
			s, script := rig.NewSigner(t), rig.NewSteps()
			timeout := "200ms"
			if name == "second signal" {
				timeout = "1h"
			}
			u := rig.Start(t, rig.Settings(rig.NewModel(t, script.Serve), s).With(rig.Env{"USHER_DRAIN_TIMEOUT": timeout})).Ready()
			resp := u.Open(t.Context(), "/generate_stream", s.Ticket().Flat(""))
			defer func() { _ = resp.Body.Close() }()
			script.Events <- "data: 1\n\n"
			u.Signal(syscall.SIGTERM)
			u.WaitLine(`"msg":"draining"`)
			end(u)
			rest, err := io.ReadAll(resp.Body)
			require.Error(t, err)
			require.Contains(t, string(rest), `"error_type":"upstream_broken"`, "its ticket is spent")
			require.Equal(t, 1, u.Wait())
		})
	}
}

// POST /drain answers once nothing is in flight, and the process stays.
func TestDrainHook(t *testing.T) {
	t.Parallel()
	s, script := rig.NewSigner(t), rig.NewSteps()
	u := rig.Start(t, rig.Settings(rig.NewModel(t, script.Serve), s)).Ready()
	resp := u.Open(t.Context(), "/generate_stream", s.Ticket().Flat(""))
	defer func() { _ = resp.Body.Close() }()
	answered := make(chan int, 1)
	go func() {
		resp, err := http.Post("http://"+u.Admin+"/drain", "", nil)
		if err != nil {
			answered <- -1
			return
		}
		_ = resp.Body.Close()
		answered <- resp.StatusCode
	}()
	u.WaitLine(`"msg":"draining"`)
	select {
	case <-answered:
		require.Fail(t, "answered with a stream in flight")
	case script.Events <- "data: 1\n\n":
	}
	require.Eventually(t, func() bool { return rig.Refused(u.Public) }, rig.Patience, time.Millisecond)
	u.WaitMetric("usher_connections", 1)
	close(script.Events)
	_, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, 200, <-answered)
	require.Zero(t, u.Metric("usher_connections"))
	status, _ := u.Get("/livez")
	require.Equal(t, 200, status)
	u.Signal(syscall.SIGTERM)
	require.Equal(t, 0, u.Wait())
}

// A connection kept open into the drain is told so and closed.
func TestDrainingOnAKeptConnection(t *testing.T) {
	t.Parallel()
	s, script := rig.NewSigner(t), rig.NewSteps()
	// The delay is time for Usher to read the half request below: an idle
	// connection would be closed.
	u := rig.Start(t, rig.Settings(rig.NewModel(t, script.Serve), s).With(rig.Env{"USHER_DRAIN_DELAY": "300ms"})).Ready()
	stream := u.Open(t.Context(), "/generate_stream", s.Ticket().Flat(""))
	defer func() { _ = stream.Body.Close() }()
	kept := rig.Dial(t, u.Public)
	kept.Request("GET", "/ping", nil)
	require.Contains(t, kept.Response(), "pong")
	// Half a request, so that the connection is not idle when the drain begins.
	body := string(s.Ticket().Flat(""))
	kept.Send("POST /generate HTTP/1.1\r\nHost: a\r\n")
	u.Signal(syscall.SIGTERM)
	u.WaitLine(`"msg":"draining"`)
	require.Eventually(t, func() bool { return rig.Refused(u.Public) }, rig.Patience, time.Millisecond)
	kept.Send("Content-Length: " + rig.Itoa(len(body)) + "\r\n\r\n" + body)
	got := kept.Response()
	require.Contains(t, got, "503")
	require.Contains(t, got, `"draining"`)
	require.True(t, kept.Closed())
	close(script.Events)
	require.Equal(t, 0, u.Wait())
}

func TestExitStatuses(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	taken := rig.Start(t, rig.Settings(m, s))
	u := rig.Launch(t, rig.Settings(m, s).With(rig.Env{"USHER_LISTEN_ADDR": taken.Public}))
	require.Equal(t, 1, u.Wait())

	u = rig.Launch(t, rig.Env{"USHER_LISTEN_ADDR": "", "USHER_ADMIN_ADDR": "", "USHER_QUEUE_TIMEOUT": "30", "USHER_COST_POLICY": "maybe"})
	require.Equal(t, 2, u.Wait())
	said := ""
	for _, line := range u.Log() {
		said += line + "\n"
	}
	for _, variable := range []string{"USHER_ENDPOINT", "USHER_WORKER_URL", "USHER_PUBLIC_KEY", "USHER_QUEUE_TIMEOUT", "USHER_COST_POLICY"} {
		require.Contains(t, said, variable)
	}
}

func TestHealthAndPing(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	u := rig.Start(t, rig.Settings(m, s)).Ready()
	require.Equal(t, 200, u.Do("GET", "/health", nil, nil).Status)
	require.Equal(t, 200, u.Do("HEAD", "/health", nil, nil).Status)
	require.Equal(t, "pong", u.Do("GET", "/ping", nil, nil).Body)
	m.CloseClientConnections()
	m.Close()
	require.Eventually(t, func() bool { return u.Do("GET", "/health", nil, nil).Status == 503 }, rig.Patience, 10*time.Millisecond)
	status, body := u.Get("/readyz")
	require.Equal(t, 503, status)
	require.Contains(t, body, "upstream")
}
