package documents

import (
	"bufio"
	"bytes"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/rig"
)

// buildPlayground returns the path of the built binary.
func buildPlayground(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "playground")
	args := []string{"build", "-o", path}
	if rig.RaceEnabled {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "../../cmd/playground")...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// With everything on, the playground finds every good request answered and every bad
// one refused with the right code; otherwise its exit status is not 0.
func TestPlaygroundWithEverythingOn(t *testing.T) {
	full.Only(t)
	t.Parallel()
	cmd := exec.Command(buildPlayground(t), "-workers", "2", "-delay", "wan", "-loss", "2%", "-bad", "20%",
		"-outage", "3s", "-for", "10s", "-rps", "20")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, kind := range []string{"good", "replayed", "tampered with", "wrong worker"} {
		require.Contains(t, string(out), "\n"+kind+" ")
	}
	require.Regexp(t, `(?m)^outages: [1-9]\d*, key rotations: [1-9]`, string(out))
}

// The commands that the playground prints work when pasted into a shell.
func TestPlaygroundLinesWorkAsPasted(t *testing.T) {
	full.Only(t)
	t.Parallel()
	shell, curl, python := rig.Need(t, "bash", "bash"), rig.Need(t, "curl", "curl"), rig.Need(t, "python3", "python3")
	t.Log(curl, python)
	cmd := exec.Command(buildPlayground(t), "-rps", "0", "-workers", "2", "-per-token", "1ms")
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	end := time.AfterFunc(2*rig.Patience, func() { _ = cmd.Process.Kill() })
	defer end.Stop()
	ended := false
	defer func() {
		if !ended {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}()
	// Each block of lines to paste is indented and follows a line "… with …:".
	var paste []string
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && len(paste) < 4 {
		if line := strings.TrimPrefix(lines.Text(), "  "); strings.HasPrefix(line, "TICKET=") || len(paste) > 0 && line != lines.Text() {
			paste = append(paste, line)
		}
	}
	require.Len(t, paste, 4)
	require.Contains(t, paste[3], "python3")

	var errors bytes.Buffer
	pasted := exec.Command(shell, "-c", strings.Join(paste, "\n"))
	pasted.Stderr = &errors
	out, err := pasted.Output()
	require.NoError(t, err, "%s", errors.String())
	require.Contains(t, string(out), `data:{"index":24,`, "curl: %s", errors.String())
	require.Contains(t, string(out), "{'generated_text': ", "python")

	// It runs until Ctrl-C, which is not a failure.
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	_, _ = io.Copy(io.Discard, stdout)
	err = cmd.Wait()
	ended = true
	require.NoError(t, err)
}
