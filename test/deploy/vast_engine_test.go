package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// The start script sets the engine's name and the address where the Python worker's
// templates make it listen, unless they are set.
func TestVastBackends(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		set  rig.Env
		want string // engine, address and routes
	}{
		"tgi":      {rig.Env{"BACKEND": "tgi"}, "tgi http://127.0.0.1:5001 -"},
		"vllm":     {rig.Env{"BACKEND": "vllm"}, "vllm http://127.0.0.1:18000 -"},
		"llamacpp": {rig.Env{"BACKEND": "llamacpp"}, "llamacpp http://127.0.0.1:18000 -"},
		"sglang":   {rig.Env{"BACKEND": "sglang"}, "sglang - -"},
		"ollama":   {rig.Env{"BACKEND": "ollama"}, "ollama - -"},
		"openai":   {rig.Env{"BACKEND": "openai"}, "- http://127.0.0.1:18000 /v1/completions,/v1/chat/completions"},
		"set":      {rig.Env{"BACKEND": "vllm", "USHER_ENGINE": "sglang", "MODEL_SERVER_URL": "http://0.0.0.0:7", "USHER_ROUTES": "/x"}, "sglang http://127.0.0.1:7 /x"},
	} {
		dir := t.TempDir()
		stub := filepath.Join(dir, "usher")
		require.NoError(t, os.WriteFile(stub, []byte("#!/bin/sh\necho \"${USHER_ENGINE:--} ${USHER_UPSTREAM_URL:--} ${USHER_ROUTES:--}\" >\"$WORKSPACE_DIR/said\"\n"), 0o755))
		cmd := exec.Command("../../deploy/vast/start_server.sh")
		cmd.Env = rig.Env{"WORKSPACE_DIR": dir, "USHER_BIN": stub, "USE_SSL": "false"}.With(tt.set).List()
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s: %s", name, out)
		said, err := os.ReadFile(filepath.Join(dir, "said"))
		require.NoError(t, err)
		require.Equal(t, tt.want+"\n", string(said), name)
	}
}
