package test

import (
	"context"
	"io"
	"net/http"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// usher drain and GET /prestop drain as POST /drain does: they hold whoever
// called them until nothing is in flight, and the process stays.
func TestWaysToDrain(t *testing.T) {
	t.Parallel()
	ways := map[string]func(t *testing.T, u *usher) (cut bool){
		"usher drain": func(t *testing.T, u *usher) bool {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, binary, "drain")
			cmd.Env = env{"USHER_ADMIN_ADDR": u.admin}.list()
			said, _ := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() == 1 {
				require.Contains(t, string(said), "requests were cut")
				return true
			}
			require.Equal(t, 0, cmd.ProcessState.ExitCode(), "%s", said)
			require.Empty(t, said)
			return false
		},
		"GET /prestop": func(t *testing.T, u *usher) bool {
			resp, err := (&http.Client{Timeout: patience}).Get("http://" + u.admin + "/prestop")
			require.NoError(t, err)
			defer func() { _ = resp.Body.Close() }()
			require.Equal(t, 200, resp.StatusCode)
			said, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Contains(t, string(said), `"drained":true`)
			return string(said) == "{\"cut\":true,\"drained\":true}\n"
		},
	}
	for name, drain := range ways {
		for _, cuts := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", cut", false: ""}[cuts], func(t *testing.T) {
				t.Parallel()
				s, script := newSigner(t), newSteps()
				with := settings(newModel(t, script.serve), s)
				if cuts {
					with = with.with(env{"USHER_DRAIN_TIMEOUT": "50ms"})
				}
				u := start(t, with).ready()
				resp := u.open(t.Context(), "/generate_stream", s.ticket().flat(""))
				defer func() { _ = resp.Body.Close() }()
				ended := make(chan bool, 1)
				go func() { ended <- drain(t, u) }()
				u.waitLine(`"msg":"draining"`)
				if !cuts {
					select {
					case <-ended:
						require.Fail(t, "ended with a stream in flight")
					case script.send <- "data: 1\n\n":
					}
					close(script.send)
					_, err := io.ReadAll(resp.Body)
					require.NoError(t, err)
				}
				require.Equal(t, cuts, <-ended)
				status, _ := u.get("/livez")
				require.Equal(t, 200, status)
				u.signal(syscall.SIGTERM)
				require.Equal(t, map[bool]int{true: 1, false: 0}[cuts], u.wait())
			})
		}
	}
}

// Nothing but the request that is meant to drains.
func TestNothingElseDrains(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	u := start(t, settings(newModel(t, nil), s)).ready()
	for _, tt := range []struct {
		method, path, name, value string
		want                      int
	}{
		{"HEAD", "/prestop", "", "", 405},
		{"POST", "/prestop", "", "", 405},
		{"GET", "/drain", "", "", 405},
		{"GET", "/prestop", "Origin", "http://" + u.admin, 403},
		{"GET", "/prestop", "Referer", "http://" + u.admin + "/", 403},
		{"GET", "/prestop", "Sec-Fetch-Site", "same-origin", 403},
		{"GET", "/prestop", "User-Agent", "Mozilla/5.0", 403},
		{"POST", "/drain", "Sec-Fetch-Site", "same-origin", 403},
		{"POST", "/drain", "Origin", "https://evil.example", 403},
	} {
		req, err := http.NewRequest(tt.method, "http://"+u.admin+tt.path, nil)
		require.NoError(t, err)
		if tt.name != "" {
			req.Header.Set(tt.name, tt.value)
		}
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		_ = resp.Body.Close()
		require.Equal(t, tt.want, resp.StatusCode, tt)
	}
	status, _ := u.get("/readyz")
	require.Equal(t, 200, status)
}

func TestDrainCommandWithoutAnUsher(t *testing.T) {
	t.Parallel()
	status, _, said := command(t, env{"USHER_ADMIN_ADDR": "127.0.0.1:1"}, "", "drain")
	require.Equal(t, 1, status)
	require.Contains(t, said, "usher drain: ")
}
