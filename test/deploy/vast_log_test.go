//go:build unix

package deploy

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/logreader"
	"github.com/usher-sidecar/usher/test/rig"
)

// The start script restarts usher and keeps its log even if nobody reads its own
// stderr, or the reader has gone.
func TestVastLogReader(t *testing.T) {
	t.Parallel()
	rig.Need(t, "bash", "bash")
	for name, disturb := range map[string]func(*logreader.Reader) error{
		"stopped": (*logreader.Reader).Stop,
		"gone":    func(r *logreader.Reader) error { r.Leave(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, m := rig.NewSigner(t), rig.NewModel(t, nil)
			dir, port := t.TempDir(), quietPort(t)
			// The command it starts first prints its process ID.
			wrapper := filepath.Join(dir, "wrapper")
			require.NoError(t, os.WriteFile(wrapper, []byte("#!/bin/sh\necho $$ >>'"+dir+"/pids'\nexec '"+rig.Binary+"'\n"), 0o700))
			r, stderr, err := logreader.New(t.TempDir())
			require.NoError(t, err)
			cmd := exec.Command("bash", "../../deploy/vast/start_server.sh")
			cmd.Stderr = stderr
			cmd.Env = rig.Env{
				"BACKEND": "tgi", "WORKSPACE_DIR": dir, "USHER_BIN": wrapper, "WORKER_PORT": port, "USE_SSL": "false",
				"PUBLIC_IPADDR": "203.0.113.7", "VAST_TCP_PORT_" + port: "41234", "USHER_ENDPOINT": rig.Endpoint,
				"USHER_PUBLIC_KEY": s.Public(), "REPORT_ADDR": "", "MODEL_SERVER_URL": m.URL,
				"USHER_ADMIN_ADDR": "127.0.0.1:0", "USHER_DRAIN_DELAY": "0s", "USHER_HEALTH_INTERVAL": "50ms",
			}.List()
			require.NoError(t, cmd.Start())
			require.NoError(t, stderr.Close())
			ended := make(chan struct{})
			read := make(chan struct{})
			go func() { defer close(read); _, _ = io.Copy(io.Discard, r) }()
			go func() { defer close(ended); _ = cmd.Wait() }()
			t.Cleanup(func() {
				_ = cmd.Process.Signal(syscall.SIGTERM)
				<-ended
				require.NoError(t, r.Return())
				r.Continue()
				<-read
				r.Leave()
			})
			serves := func(times int) int {
				var pids []string
				require.Eventually(t, func() bool {
					text, _ := os.ReadFile(filepath.Join(dir, "pids"))
					if pids = strings.Fields(string(text)); len(pids) != times {
						return false
					}
					resp, err := http.Get("http://127.0.0.1:" + port + "/health")
					if err != nil {
						return false
					}
					_ = resp.Body.Close()
					return resp.StatusCode == http.StatusOK
				}, rig.Patience, 10*time.Millisecond, "it does not serve for the %d. time", times)
				pid, err := strconv.Atoi(pids[times-1])
				require.NoError(t, err)
				return pid
			}
			logged := func(text string, times int) {
				require.Eventually(t, func() bool {
					log, _ := os.ReadFile(filepath.Join(dir, "usher.log"))
					return strings.Count(string(log), text) == times
				}, rig.Patience, 10*time.Millisecond, "%s, %d times", text, times)
			}
			first := serves(1)
			logged(`"msg":"listening"`, 1)
			require.NoError(t, disturb(r))
			require.NoError(t, syscall.Kill(first, syscall.SIGKILL))
			serves(2)
			logged("usher ended with status 137; starting it again", 1)
			if name == "gone" {
				logged(`"msg":"listening"`, 2)
			}
			require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
			select {
			case <-ended:
				require.Equal(t, 0, cmd.ProcessState.ExitCode())
			case <-time.After(rig.Patience):
				require.FailNow(t, "the start script does not end")
			}
		})
	}
}
