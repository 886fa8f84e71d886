package life

import (
	"context"
	"io"
	"net/http"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// usher drain and GET /prestop drain like POST /drain: they return once nothing is in
// flight, and the process stays.
func TestWaysToDrain(t *testing.T) {
	t.Parallel()
	ways := map[string]func(t *testing.T, u *rig.Usher) (cut bool){
		"usher drain": func(t *testing.T, u *rig.Usher) bool {
			ctx, cancel := context.WithTimeout(t.Context(), rig.Patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, rig.Binary, "drain")
			cmd.Env = rig.Env{"USHER_ADMIN_ADDR": u.Admin}.List()
			said, _ := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() == 1 {
				require.Contains(t, string(said), "requests were cut")
				return true
			}
			require.Equal(t, 0, cmd.ProcessState.ExitCode(), "%s", said)
			require.Empty(t, said)
			return false
		},
		"GET /prestop": func(t *testing.T, u *rig.Usher) bool {
			resp, err := (&http.Client{Timeout: rig.Patience}).Get("http://" + u.Admin + "/prestop")
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
				s, script := rig.NewSigner(t), rig.NewSteps()
				with := rig.Settings(rig.NewModel(t, script.Serve), s)
				if cuts {
					with = with.With(rig.Env{"USHER_DRAIN_TIMEOUT": "50ms"})
				}
				u := rig.Start(t, with).Ready()
				resp := u.Open(t.Context(), "/generate_stream", s.Ticket().Flat(""))
				defer func() { _ = resp.Body.Close() }()
				ended := make(chan bool, 1)
				go func() { ended <- drain(t, u) }()
				u.WaitLine(`"msg":"draining"`)
				if !cuts {
					select {
					case <-ended:
						require.Fail(t, "ended with a stream in flight")
					case script.Events <- "data: 1\n\n":
					}
					close(script.Events)
					_, err := io.ReadAll(resp.Body)
					require.NoError(t, err)
				}
				require.Equal(t, cuts, <-ended)
				status, _ := u.Get("/livez")
				require.Equal(t, 200, status)
				u.Signal(syscall.SIGTERM)
				require.Equal(t, map[bool]int{true: 1, false: 0}[cuts], u.Wait())
			})
		}
	}
}

// No other request starts a drain.
func TestNothingElseDrains(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s)).Ready()
	for _, tt := range []struct {
		method, path, name, value string
		want                      int
	}{
		{"HEAD", "/prestop", "", "", 405},
		{"POST", "/prestop", "", "", 405},
		{"GET", "/drain", "", "", 405},
		{"GET", "/prestop", "Origin", "http://" + u.Admin, 403},
		{"GET", "/prestop", "Referer", "http://" + u.Admin + "/", 403},
		{"GET", "/prestop", "Sec-Fetch-Site", "same-origin", 403},
		{"GET", "/prestop", "User-Agent", "Mozilla/5.0", 403},
		{"POST", "/drain", "Sec-Fetch-Site", "same-origin", 403},
		{"POST", "/drain", "Origin", "https://evil.example", 403},
	} {
		req, err := http.NewRequest(tt.method, "http://"+u.Admin+tt.path, nil)
		require.NoError(t, err)
		if tt.name != "" {
			req.Header.Set(tt.name, tt.value)
		}
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		_ = resp.Body.Close()
		require.Equal(t, tt.want, resp.StatusCode, tt)
	}
	status, _ := u.Get("/readyz")
	require.Equal(t, 200, status)
}

func TestDrainCommandWithoutAnUsher(t *testing.T) {
	t.Parallel()
	status, _, said := rig.Command(t, rig.Env{"USHER_ADMIN_ADDR": "127.0.0.1:1"}, "", "drain")
	require.Equal(t, 1, status)
	require.Contains(t, said, "usher drain: ")
}
