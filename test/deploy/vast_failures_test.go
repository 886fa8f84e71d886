package deploy

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/rig"
)

// startOf runs the start script with a stub in usher's place, which bash reads, and
// returns its status.
func startOf(t *testing.T, stub string, variables rig.Env) (status int, a *rig.Scaler) {
	t.Helper()
	rig.Need(t, "bash", "bash")
	rig.Need(t, "curl", "curl")
	a = rig.NewScaler(t, nil)
	dir := t.TempDir()
	binary := filepath.Join(dir, "usher")
	require.NoError(t, os.WriteFile(binary, []byte("#!/bin/bash\n"+stub+"\n"), 0o700))
	ctx, cancel := context.WithTimeout(t.Context(), rig.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "../../deploy/vast/start_server.sh")
	cmd.Env = rig.Env{
		"BACKEND": "tgi", "WORKSPACE_DIR": dir, "CERT_DIR": dir, "USHER_BIN": binary, "USE_SSL": "false",
		"REPORT_ADDR": a.URL, "CONTAINER_ID": "17", "MASTER_TOKEN": rig.MasterToken,
	}.With(variables).List()
	_ = cmd.Run()
	require.NoError(t, ctx.Err(), "the start script did not end in time")
	return cmd.ProcessState.ExitCode(), a
}

// Why usher will not start is reported even if its words come late, and its status is the
// script's even if it has none.
func TestVastWrongSettingsAreReported(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ stub, says string }{
		"late":     {"(sleep 1; echo 'usher: 1 wrong or missing setting(s):\n  USHER_X: bad' >&2) &\nexit 2", "USHER_X: bad"},
		"wordless": {"exit 2", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, a := startOf(t, tt.stub, nil)
			require.Equal(t, 2, status)
			require.Len(t, a.Reports(), 1)
			require.Contains(t, a.Reports()[0]["error_msg"], tt.says)
		})
	}
}

// An usher that ends before it listens is reported once, however often it is tried again.
func TestVastWithoutAPort(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = ln.Close() }()
	// The third one is stopped.
	stub := `echo >>"$WORKSPACE_DIR/starts"; [ "$(wc -l <"$WORKSPACE_DIR/starts")" -lt 3 ] || kill -TERM "$PPID"; exec ` + rig.Binary
	_, a := startOf(t, stub, rig.Env{
		"USHER_ENDPOINT": rig.Endpoint, "USHER_PUBLIC_KEY": rig.NewSigner(t).Public(), "USHER_UPSTREAM_URL": "http://127.0.0.1:1",
		"USHER_WORKER_URL": rig.URL, "USHER_LISTEN_ADDR": ln.Addr().String(), "USHER_ADMIN_ADDR": "127.0.0.1:0",
	})
	require.Len(t, a.Reports(), 1)
	require.Contains(t, a.Reports()[0]["error_msg"], "address already in use")
}

// A hang-up has usher reload its files, and ends nothing.
func TestVastHangUp(t *testing.T) {
	t.Parallel()
	// If this process was started with hang-ups ignored, as by nohup, so would be those
	// that it starts, and bash could not change that.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP)
	defer signal.Stop(caught)
	stub := `trap 'echo reloaded >&2; exit 0' HUP
for _ in {1..500}; do kill -HUP "$PPID"; sleep 0.1; done; exit 2` // the first may come before the script knows its process
	status, _ := startOf(t, stub, nil)
	require.Zero(t, status)
}

// Two pairs are used as they are: the provider signs none.
func TestVastTwoPairs(t *testing.T) {
	t.Parallel()
	status, a := startOf(t, `echo "$USHER_TLS_CERT_FILE" >&2; exit 0`, rig.Env{
		"USE_SSL": "true", "SIGN_URL": "http://127.0.0.1:1", "USHER_TLS_CERT_FILE": "/c/ec.crt,/c/rsa.crt", "USHER_TLS_KEY_FILE": "/c/ec.key,/c/rsa.key",
	})
	require.Zero(t, status)
	require.Empty(t, a.Reports())
}

// A provider that says nothing does not keep the worker waiting for ever.
func TestVastSilentProvider(t *testing.T) {
	t.Parallel()
	full.Only(t)
	silent := rig.ServeAlone(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or its client's leaving does not show
		<-r.Context().Done()
	})
	status, a := startOf(t, "exit 0", rig.Env{"USE_SSL": "true", "SIGN_URL": silent.URL, "SIGN_TIMEOUT": "1"})
	require.Equal(t, 2, status)
	require.Len(t, a.Reports(), 1)
	require.Equal(t, "the certificate was not signed", a.Reports()[0]["error_msg"])
}
