package test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/autoscaler"
	"github.com/usher-sidecar/usher/test/modelserver"
)

// An example is a block of a document that is marked to be run, and what its
// output must hold.
type example struct {
	name, kind, says, text string
}

var marked = regexp.MustCompile("(?s)<!-- run: (\\w+); says: (.*?) -->\n```\\w+\n(.*?)```\n")

func examples(t *testing.T, document string) (list []example) {
	t.Helper()
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	for i, m := range marked.FindAllStringSubmatch(string(text), -1) {
		list = append(list, example{fmt.Sprintf("%d %s", i+1, m[1]), m[1], m[2], m[3]})
	}
	require.Equal(t, strings.Count(string(text), "<!-- run: "), len(list), "a mark without its block")
	return list
}

// run runs an example as it stands.
func (e example) run(t *testing.T, environment env) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var cmd *exec.Cmd
	switch e.kind {
	case "python":
		cmd = exec.CommandContext(ctx, python3(t), "-c", e.text)
	case "bash":
		need(t, "curl", "curl")
		cmd = exec.CommandContext(ctx, need(t, "bash", "bash"), "-euo", "pipefail", "-c", e.text)
	case "node":
		cmd = exec.CommandContext(ctx, need(t, "node", "nodejs"), "--input-type=module", "-e", e.text)
	case "openai":
		cmd = exec.CommandContext(ctx, need(t, "node", "nodejs"), "--input-type=module", "-e", e.text)
		cmd.Dir = "testdata/openai"
		needFile(t, filepath.Join(cmd.Dir, "node_modules", "openai"), "npm ci --prefix test/testdata/openai")
	default:
		require.FailNow(t, "no such kind of example", e.kind)
	}
	cmd.Env = environment.list()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// needFile is need for what no package installs.
func needFile(t *testing.T, path, command string) {
	t.Helper()
	if _, err := os.Stat(path); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		require.FailNow(t, path+" is missing", command)
	}
	t.Skipf("%s is missing: %s", path, command)
}

// Every example in docs/clients.md works as pasted, against a toy autoscaler,
// the built binary and a toy model server.
func TestClientExamples(t *testing.T) {
	model := modelserver.New(modelserver.Options{})
	require.NoError(t, model.Start())
	t.Cleanup(model.Close)
	key, err := autoscaler.NewRSAKey()
	require.NoError(t, err)
	u := start(t, env{
		"USHER_ENDPOINT": testEndpoint, "USHER_WORKER_URL": "any", "USHER_PUBLIC_KEY": key.PEM(), "USHER_UPSTREAM_URL": model.URL(),
	}).ready()
	router, err := autoscaler.Start(autoscaler.Options{Endpoint: testEndpoint, Workers: []string{"http://" + u.public}, Key: key})
	require.NoError(t, err)
	t.Cleanup(router.Close)

	list := examples(t, "../docs/clients.md")
	require.GreaterOrEqual(t, len(list), 6)
	for _, e := range list {
		t.Run(e.name, func(t *testing.T) {
			out := e.run(t, env{"AUTOSCALER": router.URL(), "API_KEY": "toy-key"})
			require.Contains(t, out, e.says)
		})
	}
	require.EqualValues(t, len(list), len(model.Requests()), "each sent one request")
}
