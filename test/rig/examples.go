package rig

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
)

// An Example is a block of a document that is marked to be run, and what its output must
// contain.
type Example struct {
	Name, Kind, Says, Text string
}

func Examples(t *testing.T, document string) (list []Example) {
	t.Helper()
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	for i, m := range marked.FindAllStringSubmatch(string(text), -1) {
		list = append(list, Example{fmt.Sprintf("%d %s", i+1, m[1]), m[1], m[2], m[3]})
	}
	require.Equal(t, strings.Count("\n"+string(text), "\n<!-- run: "), len(list), "a mark without its block")
	return list
}

// Run runs an example unchanged and returns its output.
func (e Example) Run(t *testing.T, environment Env) string {
	t.Helper()
	limit := Patience
	if e.Kind == "go" {
		limit = compiling
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var cmd *exec.Cmd
	switch e.Kind {
	case "python":
		cmd = exec.CommandContext(ctx, Python3(t), "-c", e.Text)
		cmd.Dir = environment["FOLDER"]
	case "bash":
		Need(t, "curl", "curl")
		cmd = exec.CommandContext(ctx, Need(t, "bash", "bash"), "-euo", "pipefail", "-c", e.Text)
		cmd.Dir = environment["FOLDER"]
	case "node":
		cmd = exec.CommandContext(ctx, Need(t, "node", "nodejs"), "--input-type=module", "-e", e.Text)
	case "sdk":
		modules, err := filepath.Abs("../testdata/sdks/node_modules")
		require.NoError(t, err)
		NeedFile(t, modules, "npm ci --prefix test/testdata/sdks")
		cmd = exec.CommandContext(ctx, Need(t, "node", "nodejs"), "example.mjs")
		cmd.Dir = environment["FOLDER"]
		require.NoError(t, os.WriteFile(filepath.Join(cmd.Dir, "example.mjs"), []byte(e.Text), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(cmd.Dir, "package.json"), []byte(`{"type":"module"}`), 0o600))
		if err := os.Symlink(modules, filepath.Join(cmd.Dir, "node_modules")); !os.IsExist(err) {
			require.NoError(t, err)
		}
	case "httpx":
		cmd = exec.CommandContext(ctx, pythonWith(t, "httpx"), "-c", e.Text)
		cmd.Dir = environment["FOLDER"]
	case "go":
		full.Only(t)
		cmd = exec.CommandContext(ctx, Need(t, "bash", "bash"), "-euo", "pipefail", "-c", e.Text)
		cmd.Dir = "../.."
	case "worker":
		Need(t, "curl", "curl")
		cmd = exec.CommandContext(ctx, Need(t, "bash", "bash"), "-euo", "pipefail", "-c", e.Text)
		cmd.Dir = environment["FOLDER"]
	default:
		require.FailNow(t, "no such kind of example", e.Kind)
	}
	cmd.Env = environment.List()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// compiling bounds how long the go tool may take on a busy machine.
const compiling = 5 * time.Minute

var marked = regexp.MustCompile("(?s)<!-- run: ([\\w.]+); says: (.*?) -->\n```\\w+\n(.*?)```\n")
