package documents

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/autoscaler"
	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/modelserver"
	"github.com/usher-sidecar/usher/test/rig"
	"github.com/usher-sidecar/usher/test/rsakey"
)

// Every example in docs/clients.md and every call in the README works as pasted, with
// a toy autoscaler, the built binary and a toy model server.
func TestClientExamples(t *testing.T) {
	t.Parallel()
	model := modelserver.New(modelserver.Options{Handler: rig.BeyondText})
	require.NoError(t, model.Start())
	t.Cleanup(model.Close)
	key, err := autoscaler.NewKey(rsakey.New(t))
	require.NoError(t, err)
	page := rig.NewExamplePage(t)
	u := rig.Start(t, rig.Env{
		"USHER_ENDPOINT": rig.Endpoint, "USHER_WORKER_URL": "any", "USHER_PUBLIC_KEY": key.PEM(), "USHER_UPSTREAM_URL": model.URL(),
		"USHER_ROUTES":      "/generate,/generate_stream,/v1/chat/completions,/v1/messages,/api/chat,/v1/audio/*",
		"USHER_OPEN_ROUTES": "/v1/models", "USHER_CORS_ORIGINS": page.URL,
		"USHER_MAX_SESSIONS": "4",
	}).Ready()
	router, err := autoscaler.Start(autoscaler.Options{Endpoint: rig.Endpoint, Workers: []string{"http://" + u.Public}, Key: key})
	require.NoError(t, err)
	t.Cleanup(router.Close)

	list := slices.Concat(rig.Examples(t, "../../docs/clients.md"), rig.Examples(t, "../../README.md"))
	require.GreaterOrEqual(t, len(list), 16)
	where := rig.Env{"AUTOSCALER": router.URL(), "API_KEY": "toy-key", "FOLDER": t.TempDir(), "WORKER": "http://" + u.Public}
	page.Autoscaler, page.Folder = router.URL(), where["FOLDER"]
	require.NoError(t, os.WriteFile(filepath.Join(where["FOLDER"], "speech.wav"), []byte("RIFF"), 0o600))
	ran := 0
	for i, e := range list {
		switch e.Kind {
		case "ticketed.js", "ticketed.py", "headticket.js", "headticket.py", "headticket.sh": // what the examples below it import
			require.NoError(t, os.WriteFile(filepath.Join(where["FOLDER"], e.Kind), []byte(e.Text), 0o600))
			continue
		case "go", "worker":
			continue
		}
		e.Text = strings.ReplaceAll(e.Text, "https://autoscaler.example.com", router.URL())
		t.Run(fmt.Sprint(i, " ", e.Kind), func(t *testing.T) {
			var out string
			if e.Kind == "page" {
				full.Only(t)
				out = page.Open(t, e.Text)
			} else {
				out = e.Run(t, where)
			}
			ran++ // and was not skipped for want of its client
			if strings.Contains(e.Text, "/session/create") {
				ran += 2 // three in one session
			}
			require.Contains(t, out, e.Says)
		})
	}
	require.Len(t, model.Requests(), ran, "each sent one request")
}

// The fetch wrapper in docs/clients.md gets a ticket for each call; if no worker is
// ready, it answers with a status that SDKs retry.
func TestTicketedFetch(t *testing.T) {
	t.Parallel()
	node := rig.Need(t, "node", "nodejs")
	model := modelserver.New(modelserver.Options{})
	require.NoError(t, model.Start())
	t.Cleanup(model.Close)
	key, err := autoscaler.NewKey(rsakey.New(t))
	require.NoError(t, err)
	u := rig.Start(t, rig.Env{
		"USHER_ENDPOINT": rig.Endpoint, "USHER_WORKER_URL": "any", "USHER_PUBLIC_KEY": key.PEM(), "USHER_UPSTREAM_URL": model.URL(),
	}).Ready()
	folder := t.TempDir()
	list := rig.Examples(t, "../../docs/clients.md")
	i := slices.IndexFunc(list, func(e rig.Example) bool { return e.Kind == "ticketed.js" })
	require.NotEqual(t, -1, i)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "ticketed.mjs"), []byte(list[i].Text), 0o600))
	for worker, want := range map[string]string{"http://" + u.Public: "200 200 200", "http://127.0.0.1:1": "503 503 503"} {
		router, err := autoscaler.Start(autoscaler.Options{Endpoint: rig.Endpoint, Workers: []string{worker}, Key: key})
		require.NoError(t, err)
		t.Cleanup(router.Close)
		ctx, cancel := context.WithTimeout(t.Context(), rig.Patience)
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
		cmd.Dir, cmd.Env = folder, rig.Env{"AUTOSCALER": router.URL(), "API_KEY": "toy-key"}.List()
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Equal(t, want, strings.TrimSpace(string(out)))
	}
}

// Every block of commands that a document marks to be run, here or beside a worker,
// does what the document says.
func TestDocumentsCommands(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	with := rig.Settings(rig.NewModel(t, nil), s)
	u := rig.Start(t, with).Ready()
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "request.json"), s.Ticket().Flat(`"inputs":"a"`), 0o600))
	beside := with.With(rig.Env{"FOLDER": folder, "PATH": filepath.Dir(rig.Binary) + ":" + os.Getenv("PATH")})
	places := strings.NewReplacer("localhost:9090", u.Admin, "localhost:3000", u.Public)

	inherited := rig.Env{}
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		inherited[name] = value
	}
	modules, err := exec.Command("go", "env", "GOMODCACHE", "GOCACHE").Output()
	require.NoError(t, err)
	caches := strings.Fields(string(modules))
	require.Len(t, caches, 2)
	own := inherited.With(rig.Env{"GOPATH": t.TempDir(), "GOBIN": "", "GOMODCACHE": caches[0], "GOCACHE": caches[1]})

	ran := map[string]int{}
	for _, document := range documents(t) {
		for _, e := range rig.Examples(t, document) {
			environment := beside
			switch e.Kind {
			case "go":
				environment = own
			case "worker":
				e.Text = places.Replace(e.Text)
			default:
				continue // of docs/clients.md, with a toy autoscaler
			}
			ran[e.Kind]++
			t.Run(filepath.Base(document)+" "+e.Name, func(t *testing.T) {
				require.Contains(t, e.Run(t, environment), e.Says)
			})
		}
	}
	require.GreaterOrEqual(t, ran["go"], 3)
	require.GreaterOrEqual(t, ran["worker"], 3)
}
