package test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/autoscaler"
	"github.com/usher-sidecar/usher/test/engine/gguf"
	"github.com/usher-sidecar/usher/test/full"
)

// A realEngine is llama.cpp in a process of its own, behind the HTTP server in
// testdata/engine, with a model of random weights.
type realEngine struct {
	url  string
	cmd  *exec.Cmd
	done chan struct{} // closed when it said its last

	mu       sync.Mutex
	accounts []engineAccount
}

// An engineAccount is what the engine says of a request that it has done with.
type engineAccount struct {
	Request, Route string
	Tokens         int
	Stopped        bool    // its connection closed before its end
	At             int64   // when the engine had no more of it, in ms since 1970
	After          float64 // how long that was after its connection closed, in ms
}

func newRealEngine(t *testing.T) *realEngine {
	t.Helper()
	full.Only(t)
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("the prebuilt llama.cpp of testdata/engine is Linux' on amd64")
	}
	node := need(t, "node", "nodejs")
	needFile(t, "testdata/engine/node_modules", "npm ci --omit=optional --ignore-scripts --prefix test/testdata/engine")
	model := filepath.Join(t.TempDir(), "random.gguf")
	file, err := os.Create(model)
	require.NoError(t, err)
	require.NoError(t, gguf.Write(file, 2))
	require.NoError(t, file.Close())

	e := &realEngine{cmd: exec.Command(node, "testdata/engine/server.mjs", model), done: make(chan struct{})}
	var said bytes.Buffer
	e.cmd.Stderr = &said
	_, err = e.cmd.StdinPipe() // it ends when this does
	require.NoError(t, err)
	stdout, err := e.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, e.cmd.Start())
	lines := bufio.NewScanner(stdout)
	if lines.Scan() {
		e.url = lines.Text()
	}
	go e.read(lines)
	t.Cleanup(func() {
		e.kill()
		if t.Failed() {
			t.Logf("the engine said:\n%s", tail(said.String(), 20))
		}
	})
	require.NotEmpty(t, e.url, "the engine did not start")
	return e
}

func (e *realEngine) read(lines *bufio.Scanner) {
	for lines.Scan() {
		var a engineAccount
		if json.Unmarshal(lines.Bytes(), &a) == nil {
			e.mu.Lock()
			e.accounts = append(e.accounts, a)
			e.mu.Unlock()
		}
	}
	_ = e.cmd.Wait()
	close(e.done)
}

func (e *realEngine) kill() {
	_ = e.cmd.Process.Kill()
	<-e.done
}

// wait returns what the engine said when it has said it of so many requests; none
// came to it twice.
func (e *realEngine) wait(t *testing.T, requests int) map[string]engineAccount {
	t.Helper()
	var said []engineAccount
	require.Eventually(t, func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		said = slices.Clone(e.accounts)
		return len(said) >= requests
	}, patience, 5*time.Millisecond, "the engine has not done with %d requests", requests)
	byRequest := map[string]engineAccount{}
	for _, a := range said {
		byRequest[a.Request] = a
	}
	require.Len(t, byRequest, len(said), "a request came to the engine twice")
	return byRequest
}

func tail(text string, lines int) string {
	list := strings.Split(text, "\n")
	return strings.Join(list[max(0, len(list)-lines):], "\n")
}

// A driven is what an SDK made of one step.
type driven struct {
	Step, Text             string
	Pieces, Vectors, Width int
	Length                 float64
	Left                   int64 // when the client left, in ms since 1970
	Error                  *struct {
		Name, Message, Type, Told string
		Status                    int
	}
}

// What differs between the SDKs: those without embeddings, those that cannot stop
// an answer that comes whole, and how often each asks in all when nobody is there
// and it may try once more.
var sdks = map[string]struct {
	embeds, stopsWhole bool
	asks               int
}{
	"openai":      {true, true, 2},
	"vercel":      {true, true, 2},
	"langchain":   {true, true, 2},
	"ollama":      {true, false, 1},
	"anthropic":   {false, true, 2},
	"huggingface": {false, true, 1},
}

// Each SDK, with the fetch of docs/clients.md, does with a real engine behind
// Usher what it does with an engine alone, and what it stops, the engine stops.
func TestRealEngine(t *testing.T) {
	t.Parallel()
	needFile(t, "testdata/sdks/node_modules", "npm ci --prefix test/testdata/sdks")
	list := examples(t, "../docs/clients.md")
	i := slices.IndexFunc(list, func(e example) bool { return e.kind == "ticketed.js" })
	require.NotEqual(t, -1, i)
	ticketed := filepath.Join(t.TempDir(), "ticketed.mjs")
	require.NoError(t, os.WriteFile(ticketed, []byte(list[i].text), 0o600))
	for name := range sdks {
		t.Run(name, func(t *testing.T) { driveSDK(t, name, ticketed) })
	}
}

func driveSDK(t *testing.T, name, ticketed string) {
	engine := newRealEngine(t)
	key, err := autoscaler.NewRSAKey()
	require.NoError(t, err)
	u := start(t, env{
		"USHER_ENDPOINT": testEndpoint, "USHER_WORKER_URL": "any", "USHER_PUBLIC_KEY": key.PEM(), "USHER_ENGINE": "llamacpp",
		"USHER_UPSTREAM_URL": engine.url, "USHER_COST_POLICY": "enforce",
		"USHER_ROUTES": "/v1/completions,/v1/chat/completions,/v1/embeddings,/v1/messages,/api/chat,/api/embed",
	}).ready()
	// The autoscaler goes on to route to a worker whose engine died.
	router, err := autoscaler.Start(autoscaler.Options{
		Endpoint: testEndpoint, Workers: []string{"http://" + u.public}, Key: key,
		Health: func(string) string { return "http://" + u.admin + "/livez" },
	})
	require.NoError(t, err)
	t.Cleanup(router.Close)

	steps := drive(t, name, env{"TICKETED": ticketed, "ENGINE": engine.url, "AUTOSCALER": router.URL(), "API_KEY": "toy-key"}, engine.kill)
	checkAnswers(t, name, steps)
	checkErrors(t, name, steps)
	u.signal(syscall.SIGTERM)
	require.Zero(t, u.wait()) // and it has said all
	checkRequests(t, name, u, engine, steps)
}

// drive runs the driver and gathers its steps; kill is called where it wants the
// engine dead.
func drive(t *testing.T, name string, with env, kill func()) map[string]driven {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), need(t, "node", "nodejs"), "testdata/sdks/drive.mjs", name)
	cmd.Env = with.list()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	steps := map[string]driven{}
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var d driven
		require.NoError(t, json.Unmarshal(lines.Bytes(), &d), lines.Text())
		if d.Step == "kill" {
			kill()
			continue
		}
		steps[d.Step] = d
		t.Log(lines.Text())
	}
	require.NoError(t, lines.Err())
	require.NoError(t, cmd.Wait(), "%s", stderr.String())
	return steps
}

func checkAnswers(t *testing.T, name string, steps map[string]driven) {
	t.Helper()
	whole, stream := steps["whole"], steps["stream"]
	require.Nil(t, whole.Error)
	require.Len(t, strings.Fields(whole.Text), 12, "a word a token: %q", whole.Text)
	require.Nil(t, stream.Error)
	require.Equal(t, whole.Text, stream.Text, "the same model, prompt and seed")
	require.Equal(t, 12, stream.Pieces)
	if sdks[name].embeds {
		e := steps["embed"]
		require.Nil(t, e.Error)
		require.Equal(t, [2]int{2, 64}, [2]int{e.Vectors, e.Width})
		require.InDelta(t, 1, e.Length, 1e-3)
	}
}

func checkErrors(t *testing.T, name string, steps map[string]driven) {
	t.Helper()
	for step, want := range map[string]struct {
		status int
		says   string
	}{
		"too long": {400, "exceeds the available context size"}, // the engine's
		"too dear": {403, "cost in its ticket"},                 // Usher's
		"is gone":  {502, "model server"},                       // Usher's
	} {
		got := steps[step].Error
		require.NotNil(t, got, step)
		require.Equal(t, want.status, got.Status, "%s: %+v", step, got)
		require.Contains(t, got.Message+got.Told, want.says, step)
	}
	require.NotNil(t, steps["dies"].Error, "an answer whose engine died looks whole: %q", steps["dies"].Text)
}

// checkRequests compares Usher's account of the requests with the engine's.
func checkRequests(t *testing.T, name string, u *usher, engine *realEngine, steps map[string]driven) {
	t.Helper()
	type record struct {
		RequestID string `json:"request_id"`
		Outcome   string
		Reqnum    *int64
	}
	lefts := []int64{steps["abort a stream"].Left, steps["abort the whole"].Left} // in this order
	told := engine.wait(t, 3)
	seen, outcomes := map[int64]bool{}, map[string]int{}
	for _, line := range u.log() {
		var r record
		if json.Unmarshal([]byte(line), &r) != nil || r.Outcome == "" || r.Reqnum == nil {
			continue
		}
		require.False(t, seen[*r.Reqnum], "ticket %d twice", *r.Reqnum)
		seen[*r.Reqnum] = true
		outcomes[r.Outcome]++
		if r.Outcome != "client_gone" {
			continue
		}
		a := told[r.RequestID]
		require.True(t, a.Stopped, "the client of %+v left, and the engine went on to its end", a)
		require.Less(t, a.Tokens, 4096)
		t.Logf("stopped after %d tokens: %d ms after its client left, %.1f ms after the connection to the engine closed", a.Tokens, a.At-lefts[0], a.After)
		lefts = lefts[1:]
	}
	want := map[string]int{
		"ok": 2, "client_gone": 1, "upstream_refused": 1, "cost_exceeded": 1, "upstream_broken": 1, "upstream_unreachable": sdks[name].asks,
	}
	if sdks[name].embeds {
		want["ok"]++
	}
	if sdks[name].stopsWhole {
		want["client_gone"]++
	}
	require.Equal(t, want, outcomes)
}
