package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The start script names the engine, and says where the Python worker's templates
// have it listen; what is set wins.
func TestVastBackends(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		set  env
		want string // engine, address and routes
	}{
		"tgi":      {env{"BACKEND": "tgi"}, "tgi http://127.0.0.1:5001 -"},
		"vllm":     {env{"BACKEND": "vllm"}, "vllm http://127.0.0.1:18000 -"},
		"llamacpp": {env{"BACKEND": "llamacpp"}, "llamacpp http://127.0.0.1:18000 -"},
		"sglang":   {env{"BACKEND": "sglang"}, "sglang - -"},
		"ollama":   {env{"BACKEND": "ollama"}, "ollama - -"},
		"openai":   {env{"BACKEND": "openai"}, "- http://127.0.0.1:18000 /v1/completions,/v1/chat/completions"},
		"set":      {env{"BACKEND": "vllm", "USHER_ENGINE": "sglang", "MODEL_SERVER_URL": "http://0.0.0.0:7", "USHER_ROUTES": "/x"}, "sglang http://127.0.0.1:7 /x"},
	} {
		dir := t.TempDir()
		stub := filepath.Join(dir, "usher")
		require.NoError(t, os.WriteFile(stub, []byte("#!/bin/sh\necho \"${USHER_ENGINE:--} ${USHER_UPSTREAM_URL:--} ${USHER_ROUTES:--}\" >\"$WORKSPACE_DIR/said\"\n"), 0o755))
		cmd := exec.Command("../deploy/vast/start_server.sh")
		cmd.Env = env{"WORKSPACE_DIR": dir, "USHER_BIN": stub, "USE_SSL": "false"}.with(tt.set).list()
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s: %s", name, out)
		said, err := os.ReadFile(filepath.Join(dir, "said"))
		require.NoError(t, err)
		require.Equal(t, tt.want+"\n", string(said), name)
	}
}
