package engine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/autoscaler"
	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/rig"
)

// A driven is the result of one step with an SDK.
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

// The SDKs differ in this: some have no embeddings; some cannot stop an answer that
// comes whole; in how often each asks in all when nobody is there and one retry is
// allowed; and in whether it retries after a broken answer with x-should-retry: false.
var sdks = map[string]struct {
	embeds, stopsWhole bool
	asks               int
	insists            bool
}{
	"openai":      {true, true, 2, false},
	"vercel":      {true, true, 2, true},
	"langchain":   {true, true, 2, true},
	"ollama":      {true, false, 1, false},
	"anthropic":   {false, true, 2, false},
	"huggingface": {false, true, 1, false},
}

// Each SDK works with a real engine behind Usher as with the engine alone, whether its
// tickets are in the body, by the fetch of docs/clients.md, or in the head, as its API
// key. When it stops an answer, the engine stops too.
func TestRealEngine(t *testing.T) {
	t.Parallel()
	full.Only(t)
	rig.NeedFile(t, "../testdata/sdks/node_modules", "npm ci --prefix test/testdata/sdks")
	list := rig.Examples(t, "../../docs/clients.md")
	i := slices.IndexFunc(list, func(e rig.Example) bool { return e.Kind == "ticketed.js" })
	require.NotEqual(t, -1, i)
	ticketed := filepath.Join(t.TempDir(), "ticketed.mjs")
	require.NoError(t, os.WriteFile(ticketed, []byte(list[i].Text), 0o600))
	for name := range sdks {
		for _, door := range []string{"body", "head"} {
			t.Run(name+" "+door, func(t *testing.T) {
				play(t, func(t testing.TB) { driveSDK(t, name, door, ticketed) })
			})
		}
	}
}

func driveSDK(t testing.TB, name, door, ticketed string) {
	engine := newRealEngine(t)
	key, err := autoscaler.NewRSAKey()
	require.NoError(t, err)
	u := rig.Start(t, rig.Env{
		"USHER_ENDPOINT": rig.Endpoint, "USHER_WORKER_URL": "any", "USHER_PUBLIC_KEY": key.PEM(), "USHER_ENGINE": "llamacpp",
		"USHER_UPSTREAM_URL": engine.url, "USHER_COST_POLICY": "enforce",
		"USHER_ROUTES": "/v1/completions,/v1/chat/completions,/v1/embeddings,/v1/messages,/api/chat,/api/embed",
	}).Ready()
	// The autoscaler goes on to route to a worker whose engine died.
	router, err := autoscaler.Start(autoscaler.Options{
		Endpoint: rig.Endpoint, Workers: []string{"http://" + u.Public}, Key: key,
		Health: func(string) string { return "http://" + u.Admin + "/livez" },
	})
	require.NoError(t, err)
	t.Cleanup(router.Close)

	cmd := exec.CommandContext(driving(t), rig.Need(t, "node", "nodejs"), "../testdata/sdks/drive.mjs", name, door)
	cmd.Env = rig.Env{"TICKETED": ticketed, "ENGINE": engine.url, "AUTOSCALER": router.URL(), "API_KEY": "toy-key"}.List()
	steps := drive(t, cmd, map[string]func(){"kill": engine.kill, "restart": engine.restart})
	u.Signal(syscall.SIGTERM)
	require.Zero(t, u.Wait()) // and it has said all
	checkAnswers(t, name, steps)
	checkErrors(t, name, door, steps)
	checkRequests(t, name, door, u, engine, steps)
}

// driving returns a context in which a driver ends, even if it waits for an engine that
// has crashed.
func driving(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 3*rig.Patience)
	t.Cleanup(cancel)
	return ctx
}

// drive runs the driver and gathers its steps; it asks for what words do.
func drive(t testing.TB, cmd *exec.Cmd, words map[string]func()) map[string]driven {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	_, err := cmd.StdinPipe() // it ends when this does
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	steps := map[string]driven{}
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var d driven
		require.NoError(t, json.Unmarshal(lines.Bytes(), &d), lines.Text())
		if act := words[d.Step]; act != nil {
			act()
			continue
		}
		steps[d.Step] = d
		t.Log(lines.Text())
	}
	require.NoError(t, lines.Err())
	require.NoError(t, cmd.Wait(), "%s", stderr.String())
	return steps
}

func checkAnswers(t testing.TB, name string, steps map[string]driven) {
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

func checkErrors(t testing.TB, name, door string, steps map[string]driven) {
	t.Helper()
	type want struct {
		status int
		says   string
	}
	wants := map[string]want{
		"too long":               {400, "exceeds the available context size"}, // the engine's
		"too dear":               {403, "cost in its ticket"},                 // Usher's, like those below
		"is gone":                {502, "model server cannot be reached"},
		"dies before its answer": {502, "model server broke off"},
	}
	if sdks[name].insists {
		wants["dies before its answer"] = map[string]want{"body": wants["is gone"], "head": {409, "spent by an earlier attempt"}}[door]
	}
	for step, want := range wants {
		got := steps[step].Error
		require.NotNil(t, got, step)
		require.Equal(t, want.status, got.Status, "%s: %+v", step, got)
		require.Contains(t, got.Message+got.Told, want.says, step)
	}
	require.NotNil(t, steps["dies"].Error, "an answer whose engine died looks whole: %q", steps["dies"].Text)
	require.Nil(t, steps["is back"].Error)
	require.Equal(t, steps["whole"].Text, steps["is back"].Text)
}

// checkRequests compares Usher's account of the requests with the engine's.
func checkRequests(t testing.TB, name, door string, u *rig.Usher, engine *realEngine, steps map[string]driven) {
	t.Helper()
	sdk := sdks[name]
	want := map[string]int{
		"ok": 3, "client_gone": 1, "upstream_refused": 1, "cost_exceeded": 1, "upstream_broken": 2, "upstream_unreachable": sdk.asks,
	}
	if sdk.embeds {
		want["ok"]++
	}
	if sdk.stopsWhole {
		want["client_gone"]++
	}
	if sdk.insists {
		want[map[string]string{"body": "upstream_unreachable", "head": "reqnum_replayed"}[door]]++
	}
	told := engine.wait(t, want["ok"]+want["client_gone"]+want["upstream_refused"])

	lefts := []int64{steps["abort a stream"].Left, steps["abort the whole"].Left} // in this order
	spent, outcomes := map[int64]bool{}, map[string]int{}
	for _, line := range u.Log() {
		var r struct {
			RequestID string `json:"request_id"`
			Outcome   string
			Reqnum    *int64
		}
		if json.Unmarshal([]byte(line), &r) != nil || r.Outcome == "" || r.Reqnum == nil {
			continue
		}
		outcomes[r.Outcome]++
		switch r.Outcome {
		case "cost_exceeded", "upstream_unreachable", "reqnum_replayed":
			continue // nothing was sent
		case "client_gone":
			a := told[r.RequestID]
			require.True(t, a.Stopped, "the client of %+v left, and the engine went on to its end", a)
			require.Less(t, a.Tokens, 8000)
			t.Logf("stopped after %d tokens: %d ms after its client left, %.1f ms after the connection to the engine closed", a.Tokens, a.At-lefts[0], a.After)
			lefts = lefts[1:]
		}
		require.False(t, spent[*r.Reqnum], "ticket %d was spent twice", *r.Reqnum)
		spent[*r.Reqnum] = true
	}
	require.Equal(t, want, outcomes)
}
