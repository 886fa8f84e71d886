package contract

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/rig"
)

// Clients that know nothing of Usher work: curl, Python's requests and Node's fetch,
// with flat and nested bodies, streaming or not.
func TestClients(t *testing.T) {
	t.Parallel()
	clients := map[string]func(*testing.T, string, []byte) string{"curl": curl, "requests": pythonRequests, "fetch": nodeFetch}
	s := rig.NewSigner(t)
	m := rig.NewModel(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "stream") {
			w.Header().Set("Content-Type", "text/event-stream")
			for i := range 3 {
				_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
				_ = http.NewResponseController(w).Flush()
			}
			return
		}
		_, _ = io.WriteString(w, `{"generated_text":"naïve"}`)
	})
	u := rig.Start(t, rig.Settings(m, s)).Ready()
	for name, call := range clients {
		t.Run(name, func(t *testing.T) {
			for path, want := range map[string]string{
				"/generate": `{"generated_text":"naïve"}`, "/generate_stream": "data: 0\n\ndata: 1\n\ndata: 2\n\n",
			} {
				url := "http://" + u.Public + path
				if path == "/generate" || full.Run() {
					require.Equal(t, "200 "+want, call(t, url, s.Ticket().Flat(`"inputs":"hé"`)))
				}
				if path == "/generate_stream" || full.Run() {
					require.Equal(t, "200 "+want, call(t, url, s.Ticket().Nested(`{"inputs":"hé"}`)))
				}
			}
			spent := s.Ticket()
			url := "http://" + u.Public + "/v1/completions"
			require.Contains(t, call(t, url, spent.Flat("")), "200 ")
			got := call(t, url, spent.Flat(""))
			require.Contains(t, got, "409 ")
			require.Contains(t, got, "reqnum_replayed")
			// When a large body is refused, the client sees the answer and not a
			// reset.
			got = call(t, "http://"+u.Public+"/nowhere", []byte(`{"x":"`+strings.Repeat("y", 3<<20)+`"}`))
			require.Contains(t, got, "404 ")
		})
	}
}

// output runs a client with the body on standard input.
func output(t *testing.T, body []byte, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), rig.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(string(body))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	return string(out)
}

func curl(t *testing.T, url string, body []byte) string {
	out := output(t, body, rig.Need(t, "curl", "curl"), "-sN", "--noproxy", "*", "-w", "\n%{http_code}", "--data-binary", "@-",
		"-H", "Content-Type: application/json", url)
	i := strings.LastIndex(out, "\n")
	return out[i+1:] + " " + out[:i]
}

const pythonClient = `
import json, sys, requests
r = requests.post(sys.argv[1], data=sys.stdin.buffer.read(), headers={"Content-Type": "application/json"}, stream=True)
print(json.dumps([r.status_code, b"".join(r.iter_content(None)).decode()]))
`

func pythonRequests(t *testing.T, url string, body []byte) string {
	python := rig.Python3(t)
	return pair(t, output(t, body, python, "-c", pythonClient, url))
}

const nodeClient = `
const chunks = []; for await (const c of process.stdin) chunks.push(c);
const r = await fetch(process.argv[1], {method: "POST", body: Buffer.concat(chunks), headers: {"Content-Type": "application/json"}});
console.log(JSON.stringify([r.status, await r.text()]));
`

func nodeFetch(t *testing.T, url string, body []byte) string {
	return pair(t, output(t, body, rig.Need(t, "node", "nodejs"), "--input-type=module", "-e", nodeClient, url))
}

func pair(t *testing.T, out string) string {
	t.Helper()
	var got [2]any
	require.NoError(t, json.Unmarshal([]byte(out), &got), out)
	return fmt.Sprintf("%.0f %s", got[0], got[1])
}
