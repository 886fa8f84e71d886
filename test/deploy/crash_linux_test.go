package deploy

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// The start script recognises a crash and starts Usher again; SIGQUIT ends a Go
// process in the same way.
func TestVastRestartsAfterACrash(t *testing.T) {
	t.Parallel()
	_, dir, stop := startVast(t, rig.Env{
		"REPORT_ADDR": "", "USE_SSL": "false", "USHER_ENDPOINT": rig.Endpoint,
		"USHER_PUBLIC_KEY": rig.NewSigner(t).Public(), "MODEL_SERVER_URL": rig.NewModel(t, nil).URL,
	})
	listens := func() int {
		log, err := os.ReadFile(filepath.Join(dir, "usher.log"))
		require.NoError(t, err)
		return strings.Count(string(log), `"msg":"listening"`)
	}
	require.Eventually(t, func() bool { return listens() == 1 }, rig.Patience, 5*time.Millisecond)
	require.NoError(t, syscall.Kill(ownUsher(t, dir), syscall.SIGQUIT))
	require.Eventually(t, func() bool { return listens() == 2 }, rig.Patience, 5*time.Millisecond)
	require.Zero(t, stop(syscall.SIGTERM))
	log, err := os.ReadFile(filepath.Join(dir, "usher.log"))
	require.NoError(t, err)
	require.Contains(t, string(log), "status 134; starting it again")
}

// A signal that comes before Usher can handle it, or while no Usher runs, still ends
// everything: Usher is not started again.
func TestVastStopsInBetween(t *testing.T) {
	t.Parallel()
	rig.Need(t, "bash", "bash")
	for name, instead := range map[string]string{
		"before it can take it": `kill -TERM "$PPID"; exec sleep 600`,
		"while none runs":       `(until grep -qs "starting it again" "$WORKSPACE_DIR/usher.log"; do sleep 0.01; done; kill -TERM "$PPID") & exit 134`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			binary, starts := filepath.Join(dir, "usher"), filepath.Join(dir, "starts")
			require.NoError(t, os.WriteFile(binary, []byte("#!/bin/bash\necho >>"+starts+"\n"+instead+"\n"), 0o700))
			ctx, cancel := context.WithTimeout(t.Context(), rig.Patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, "bash", "../../deploy/vast/start_server.sh")
			cmd.Env = rig.Env{"BACKEND": "tgi", "WORKSPACE_DIR": dir, "USHER_BIN": binary, "USE_SSL": "false", "USHER_REPORT": "off"}.List()
			_ = cmd.Run()
			require.NoError(t, ctx.Err(), "the start script did not end in time")
			text, err := os.ReadFile(starts)
			require.NoError(t, err)
			require.Equal(t, "\n", string(text), "usher must not be started a second time")
		})
	}
}

// ownUsher returns the process of the tested binary that runs in this workspace.
func ownUsher(t *testing.T, dir string) int {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(t, err)
	for _, p := range processes {
		exe, err := os.Readlink(p + "/exe")
		if err != nil || exe != rig.Binary {
			continue
		}
		environ, _ := os.ReadFile(p + "/environ")
		if bytes.Contains(environ, []byte("WORKSPACE_DIR="+dir+"\x00")) {
			pid, err := strconv.Atoi(filepath.Base(p))
			require.NoError(t, err)
			return pid
		}
	}
	require.FailNow(t, "usher does not run in this workspace")
	return 0
}
