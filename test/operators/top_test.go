package operators

import (
	"bytes"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/rig"
)

func TestTopOnce(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s)).Ready()
	for _, args := range [][]string{{"top", "-once", u.Admin}, {"top", "-once", "http://" + u.Admin + "/"}, {"top", "-once"}} {
		status, out, said := rig.Command(t, rig.Env{"USHER_ADMIN_ADDR": u.Admin}, "", args...)
		require.Equal(t, 0, status, said)
		require.Contains(t, out, "Ready and idle")
		require.Contains(t, out, "Who is refused, and why?")
		require.NotContains(t, out, "\x1b")
	}
	status, out, _ := rig.Command(t, rig.Env{}, "", "top", "-h")
	require.Equal(t, 0, status)
	require.Contains(t, out, "usage: usher top")
	for _, wrong := range [][]string{{"top", "a", "b"}, {"top", "-twice"}} {
		status, _, said := rig.Command(t, rig.Env{}, "", wrong...)
		require.Equal(t, 2, status)
		require.Contains(t, said, "usage: usher top")
	}
	u.Kill()
	status, out, said := rig.Command(t, rig.Env{}, "", "top", "-once", u.Admin)
	require.Equal(t, 1, status)
	require.Empty(t, out)
	require.Contains(t, said, "usher top: ")
}

// Into a pipe, or on a dumb terminal, one text follows another.
func TestTopIntoAPipe(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s)).Ready()
	cmd := exec.Command(rig.Binary, "top", u.Admin)
	cmd.Env = rig.Env{"TERM": "dumb"}.List()
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var seen bytes.Buffer
	buf := make([]byte, 4<<10)
	for strings.Count(seen.String(), "Ready and idle") < 2 {
		n, err := out.Read(buf)
		require.NoError(t, err)
		seen.Write(buf[:n])
	}
	require.NotContains(t, seen.String(), "\x1b")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	_, _ = io.Copy(io.Discard, out)
	require.NoError(t, cmd.Wait())
}

// In a real terminal it keeps up, scrolls, says when usher has gone, and quits at a
// key.
func TestTopInATerminal(t *testing.T) {
	t.Parallel()
	tmux := rig.Need(t, "tmux", "tmux")
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s)).Ready()
	socket := filepath.Join(t.TempDir(), "tmux")
	run := func(args ...string) (string, error) {
		cmd := exec.Command(tmux, append([]string{"-S", socket, "-f", "/dev/null"}, args...)...)
		cmd.Env = rig.Env{"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}.List()
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := run("new-session", "-d", "-x", "110", "-y", "30", rig.Binary+" top "+u.Admin)
	require.NoError(t, err, out)
	t.Cleanup(func() { _, _ = run("kill-server") })
	shows := func(text string, keys ...string) { // each pressed before every look
		t.Helper()
		last := ""
		shown := assert.Eventually(t, func() bool {
			for _, name := range keys {
				_, _ = run("send-keys", name)
			}
			last, _ = run("capture-pane", "-p")
			return strings.Contains(last, text)
		}, rig.Patience, 100*time.Millisecond)
		require.True(t, shown, "%q is not on the screen:\n%s", text, last)
	}
	key := func(name string) {
		t.Helper()
		out, err := run("send-keys", name)
		require.NoError(t, err, out)
	}
	shows("Ready and idle")
	shows("q quits, arrows scroll")
	require.Equal(t, 200, u.Post("/generate", s.Numbered(41).Flat("")).Status)
	if full.Run() {
		shows("Letting requests in") // after five seconds
	}
	refused := u.Post("/generate", s.Numbered(41).Flat(""))
	require.Equal(t, "reqnum_replayed", refused.Code())
	shows(refused.Header.Get("X-Request-Id"), "PageDown")
	key("Home")
	shows("Is it letting requests in?")
	u.Kill()
	shows("NOT CONNECTED, trying again")
	key("q")
	require.Eventually(t, func() bool {
		_, err := run("has-session")
		return err != nil
	}, rig.Patience, 100*time.Millisecond, "q quits")
}
