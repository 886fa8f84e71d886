package contract

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/rig"
)

const keptPython = `
import json, sys, requests
with requests.Session() as s:
    s.verify, s.trust_env = sys.argv[1], False
    print(json.dumps([s.post(sys.argv[2], data=body.encode(), stream=True, headers={"Content-Type": "application/json"}).content.decode()
        for body in json.load(sys.stdin)]))
`

const keptNode = `
process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0"; process.removeAllListeners("warning");
const chunks = []; for await (const c of process.stdin) chunks.push(c);
const got = [];
for (const body of JSON.parse(Buffer.concat(chunks))) {
  const r = await fetch(process.argv[1], {method: "POST", body, headers: {"Content-Type": "application/json"}});
  got.push(await r.text());
}
console.log(JSON.stringify(got));
`

// Real clients send one stream after the other on one TLS connection.
func TestClientsKeepATLSConnection(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key, _ := rig.CertificateFiles(t, dir)
	const stream = "data: 1\n\ndata: 2\n\ndata: 3\n\n"
	m := rig.NewModel(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		for event := range strings.SplitAfterSeq(strings.TrimSuffix(stream, "\n\n"), "\n\n") {
			_, _ = io.WriteString(w, strings.TrimRight(event, "\n")+"\n\n")
			w.(http.Flusher).Flush()
			time.Sleep(5 * time.Millisecond)
		}
	})
	requests := full.Or(4, 20)
	for name, run := range map[string]func(t *testing.T, url string, bodies []string) []string{
		"curl": func(t *testing.T, url string, bodies []string) (got []string) {
			args := []string{}
			for i, body := range bodies {
				file := filepath.Join(t.TempDir(), rig.Itoa(i))
				require.NoError(t, os.WriteFile(file, []byte(body), 0o600))
				if i > 0 {
					args = append(args, "--next")
				}
				args = append(args, "-sN", "--noproxy", "*", "--http1.1", "-k", "-H", "Content-Type: application/json",
					"--data-binary", "@"+file, "-w", "|", url)
			}
			out := output(t, nil, rig.Need(t, "curl", "curl"), args...)
			return strings.Split(strings.TrimSuffix(out, "|"), "|")
		},
		"python": func(t *testing.T, url string, bodies []string) (got []string) {
			out := output(t, marshal(t, bodies), rig.Python3(t), "-c", keptPython, cert, url)
			require.NoError(t, json.Unmarshal([]byte(out), &got), out)
			return got
		},
		"node": func(t *testing.T, url string, bodies []string) (got []string) {
			out := output(t, marshal(t, bodies), rig.Need(t, "node", "nodejs"), "--input-type=module", "-e", keptNode, url)
			require.NoError(t, json.Unmarshal([]byte(out), &got), out)
			return got
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := rig.NewSigner(t)
			u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_TLS_CERT_FILE": cert, "USHER_TLS_KEY_FILE": key})).Ready()
			bodies := make([]string, requests)
			for i := range bodies {
				bodies[i] = string(s.Ticket().Flat(""))
			}
			got := run(t, fmt.Sprintf("https://%s/generate_stream", u.Public), bodies)
			require.Len(t, got, requests)
			for _, body := range got {
				require.Equal(t, stream, body)
			}
			require.EqualValues(t, 1, u.Metric(`usher_tls_handshakes_total{outcome="full"}`), "connections")
		})
	}
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return b
}
