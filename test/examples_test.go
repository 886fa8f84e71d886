package test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/autoscaler"
	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/modelserver"
)

// An example is a block of a document that is marked to be run, and what its
// output must hold.
type example struct {
	name, kind, says, text string
}

// compiling bounds what the go tool may take on a busy machine.
const compiling = 5 * time.Minute

var marked = regexp.MustCompile("(?s)<!-- run: ([\\w.]+); says: (.*?) -->\n```\\w+\n(.*?)```\n")

func examples(t *testing.T, document string) (list []example) {
	t.Helper()
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	for i, m := range marked.FindAllStringSubmatch(string(text), -1) {
		list = append(list, example{fmt.Sprintf("%d %s", i+1, m[1]), m[1], m[2], m[3]})
	}
	require.Equal(t, strings.Count("\n"+string(text), "\n<!-- run: "), len(list), "a mark without its block")
	return list
}

// run runs an example as it stands.
func (e example) run(t *testing.T, environment env) string {
	t.Helper()
	limit := patience
	if e.kind == "go" {
		limit = compiling
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var cmd *exec.Cmd
	switch e.kind {
	case "python":
		cmd = exec.CommandContext(ctx, python3(t), "-c", e.text)
		cmd.Dir = environment["FOLDER"]
	case "bash":
		need(t, "curl", "curl")
		cmd = exec.CommandContext(ctx, need(t, "bash", "bash"), "-euo", "pipefail", "-c", e.text)
		cmd.Dir = environment["FOLDER"]
	case "node":
		cmd = exec.CommandContext(ctx, need(t, "node", "nodejs"), "--input-type=module", "-e", e.text)
	case "sdk":
		modules, err := filepath.Abs("testdata/sdks/node_modules")
		require.NoError(t, err)
		needFile(t, modules, "npm ci --prefix test/testdata/sdks")
		cmd = exec.CommandContext(ctx, need(t, "node", "nodejs"), "example.mjs")
		cmd.Dir = environment["FOLDER"]
		require.NoError(t, os.WriteFile(filepath.Join(cmd.Dir, "example.mjs"), []byte(e.text), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(cmd.Dir, "package.json"), []byte(`{"type":"module"}`), 0o600))
		if err := os.Symlink(modules, filepath.Join(cmd.Dir, "node_modules")); !os.IsExist(err) {
			require.NoError(t, err)
		}
	case "httpx":
		cmd = exec.CommandContext(ctx, pythonWith(t, "httpx"), "-c", e.text)
		cmd.Dir = environment["FOLDER"]
	case "go":
		full.Only(t)
		cmd = exec.CommandContext(ctx, need(t, "bash", "bash"), "-euo", "pipefail", "-c", e.text)
		cmd.Dir = ".."
	case "worker":
		need(t, "curl", "curl")
		cmd = exec.CommandContext(ctx, need(t, "bash", "bash"), "-euo", "pipefail", "-c", e.text)
		cmd.Dir = environment["FOLDER"]
	default:
		require.FailNow(t, "no such kind of example", e.kind)
	}
	cmd.Env = environment.list()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// Every example in docs/clients.md and the README's calls work as pasted, against
// a toy autoscaler, the built binary and a toy model server.
func TestClientExamples(t *testing.T) {
	t.Parallel()
	model := modelserver.New(modelserver.Options{Handler: beyondText})
	require.NoError(t, model.Start())
	t.Cleanup(model.Close)
	key, err := autoscaler.NewRSAKey()
	require.NoError(t, err)
	page := newExamplePage(t)
	u := start(t, env{
		"USHER_ENDPOINT": testEndpoint, "USHER_WORKER_URL": "any", "USHER_PUBLIC_KEY": key.PEM(), "USHER_UPSTREAM_URL": model.URL(),
		"USHER_ROUTES":      "/generate,/generate_stream,/v1/chat/completions,/v1/messages,/api/chat,/v1/audio/*",
		"USHER_OPEN_ROUTES": "/v1/models", "USHER_CORS_ORIGINS": page.URL,
		"USHER_MAX_SESSIONS": "4",
	}).ready()
	router, err := autoscaler.Start(autoscaler.Options{Endpoint: testEndpoint, Workers: []string{"http://" + u.public}, Key: key})
	require.NoError(t, err)
	t.Cleanup(router.Close)

	list := slices.Concat(examples(t, "../docs/clients.md"), examples(t, "../README.md"))
	require.GreaterOrEqual(t, len(list), 16)
	where := env{"AUTOSCALER": router.URL(), "API_KEY": "toy-key", "FOLDER": t.TempDir(), "WORKER": "http://" + u.public}
	page.autoscaler, page.folder = router.URL(), where["FOLDER"]
	require.NoError(t, os.WriteFile(filepath.Join(where["FOLDER"], "speech.wav"), []byte("RIFF"), 0o600))
	ran := 0
	for i, e := range list {
		switch e.kind {
		case "ticketed.js", "ticketed.py", "headticket.js", "headticket.py", "headticket.sh": // what the examples below it import
			require.NoError(t, os.WriteFile(filepath.Join(where["FOLDER"], e.kind), []byte(e.text), 0o600))
			continue
		case "go", "worker":
			continue
		}
		e.text = strings.ReplaceAll(e.text, "https://autoscaler.example.com", router.URL())
		t.Run(fmt.Sprint(i, " ", e.kind), func(t *testing.T) {
			var out string
			if e.kind == "page" {
				out = page.open(t, e.text)
			} else {
				out = e.run(t, where)
			}
			ran++ // and was not skipped for want of its client
			if strings.Contains(e.text, "/session/create") {
				ran += 2 // three in one session
			}
			require.Contains(t, out, e.says)
		})
	}
	require.Len(t, model.Requests(), ran, "each sent one request")
}

// The fetch of docs/clients.md takes a ticket for each call, and where no worker
// is ready answers what SDKs try again after.
func TestTicketedFetch(t *testing.T) {
	t.Parallel()
	node := need(t, "node", "nodejs")
	model := modelserver.New(modelserver.Options{})
	require.NoError(t, model.Start())
	t.Cleanup(model.Close)
	key, err := autoscaler.NewRSAKey()
	require.NoError(t, err)
	u := start(t, env{
		"USHER_ENDPOINT": testEndpoint, "USHER_WORKER_URL": "any", "USHER_PUBLIC_KEY": key.PEM(), "USHER_UPSTREAM_URL": model.URL(),
	}).ready()
	folder := t.TempDir()
	list := examples(t, "../docs/clients.md")
	i := slices.IndexFunc(list, func(e example) bool { return e.kind == "ticketed.js" })
	require.NotEqual(t, -1, i)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "ticketed.mjs"), []byte(list[i].text), 0o600))
	for worker, want := range map[string]string{"http://" + u.public: "200 200 200", "http://127.0.0.1:1": "503 503 503"} {
		router, err := autoscaler.Start(autoscaler.Options{Endpoint: testEndpoint, Workers: []string{worker}, Key: key})
		require.NoError(t, err)
		t.Cleanup(router.Close)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, node, "--input-type=module", "-e", `
			import { ticketed } from "./ticketed.mjs";
			const call = ticketed("my-llama", 8), said = [];
			const body = JSON.stringify({ inputs: "Hi", parameters: { max_new_tokens: 8 } });
			const headers = { "content-type": "application/json", "content-length": String(body.length) };
			for (let i = 0; i < 3; i++) {
				const answer = await call("http://worker/generate?a=b", { method: "POST", headers, body });
				await answer.text();
				said.push(answer.status);
			}
			console.log(said.join(" "));`)
		cmd.Dir, cmd.Env = folder, env{"AUTOSCALER": router.URL(), "API_KEY": "toy-key"}.list()
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Equal(t, want, strings.TrimSpace(string(out)))
	}
}

// Every block of commands that a document marks for this folder or for a worker
// does what the document says, as it stands.
func TestDocumentsCommands(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	with := settings(newModel(t, nil), s)
	u := start(t, with).ready()
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "request.json"), s.ticket().flat(`"inputs":"a"`), 0o600))
	beside := with.with(env{"FOLDER": folder, "PATH": filepath.Dir(binary) + ":" + os.Getenv("PATH")})
	places := strings.NewReplacer("localhost:9090", u.admin, "localhost:3000", u.public)

	inherited := env{}
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		inherited[name] = value
	}
	modules, err := exec.Command("go", "env", "GOMODCACHE", "GOCACHE").Output()
	require.NoError(t, err)
	caches := strings.Fields(string(modules))
	require.Len(t, caches, 2)
	own := inherited.with(env{"GOPATH": t.TempDir(), "GOBIN": "", "GOMODCACHE": caches[0], "GOCACHE": caches[1]})

	ran := map[string]int{}
	for _, document := range documents(t) {
		for _, e := range examples(t, document) {
			environment := beside
			switch e.kind {
			case "go":
				environment = own
			case "worker":
				e.text = places.Replace(e.text)
			default:
				continue // of docs/clients.md, with a toy autoscaler
			}
			ran[e.kind]++
			t.Run(filepath.Base(document)+" "+e.name, func(t *testing.T) {
				require.Contains(t, e.run(t, environment), e.says)
			})
		}
	}
	require.GreaterOrEqual(t, ran["go"], 3)
	require.GreaterOrEqual(t, ran["worker"], 3)
}
