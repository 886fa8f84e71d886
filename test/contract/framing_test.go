package contract

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/framing"
	"github.com/usher-sidecar/usher/test/rig"
)

// A rawCase is one line of the corpus.
type rawCase struct {
	name, bytes string
	answers     []string
	open        bool
}

func framingCorpus(t testing.TB) (cases []rawCase) {
	t.Helper()
	file, err := os.ReadFile("testdata/framing/corpus.txt")
	require.NoError(t, err)
	for n, line := range strings.Split(string(file), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		parts := strings.SplitN(line, " | ", 3)
		require.Len(t, parts, 3, "line %d", n+1)
		want, end, ok := strings.Cut(parts[0], " ")
		require.True(t, ok && (end == "open" || end == "closed"), "line %d", n+1)
		text, err := strconv.Unquote(parts[2])
		require.NoError(t, err, "line %d", n+1)
		answers := strings.Split(want, ",")
		if want == "none" {
			answers = nil
		}
		cases = append(cases, rawCase{parts[1], text, answers, end == "open"})
	}
	return cases
}

// send sends a case over a connection of its own and returns the answers, and whether
// the connection could be used for another request afterwards.
func send(u *rig.Usher, t *testing.T, c rawCase, s *rig.Signer) (answers []string, open bool) {
	w := rig.Dial(t, u.Public)
	sent := framing.Expand(c.bytes, func() string { return string(s.Ticket().Flat(`"inputs":"a"`)) })
	for i, part := range strings.Split(sent, framing.Pause) {
		if i > 0 {
			time.Sleep(100 * time.Millisecond) // the pause is the attack
		}
		_, _ = io.WriteString(w.Conn, part) // it may be closed before all is sent
	}
	if strings.HasSuffix(c.bytes, "$FIN") {
		require.NoError(t, w.Conn.(*net.TCPConn).CloseWrite())
	}
	if c.open {
		_, _ = io.WriteString(w.Conn, "GET /ping?last HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	for {
		method, _, _ := strings.Cut(c.bytes, " ")
		resp, err := http.ReadResponse(w.In, &http.Request{Method: method})
		if err != nil {
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "after %s", answers)
			return answers, false
		}
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		switch {
		case string(body) == "pong" && c.open && len(answers) >= len(c.answers):
			return answers, true
		case string(body) == "pong":
			answers = append(answers, "pong")
		default:
			answers = append(answers, strconv.Itoa(resp.StatusCode))
		}
		if resp.StatusCode >= 300 {
			require.Equal(t, "application/json", resp.Header.Get("Content-Type"))
			require.NotEmpty(t, resp.Header.Get("X-Usher-Refusal"))
			require.NotContains(t, string(body), "\x00")
		}
	}
}

// Each raw request gets its answer, the connection is left in a safe state, and the
// model server sees only what was let through.
func TestFramingCorpus(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_REORDER_HOLD": "0", "USHER_MAX_BODY_BYTES": "100000"})).Ready()
	cases := framingCorpus(t)
	require.GreaterOrEqual(t, len(cases), 150)
	var mu sync.Mutex
	through := 0
	t.Run("cases", func(t *testing.T) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				answers, open := send(u, t, c, s)
				assert.Equal(t, strings.Join(c.answers, ","), strings.Join(answers, ","))
				assert.Equal(t, c.open, open, "whether the connection stays open")
				mu.Lock()
				defer mu.Unlock()
				through += strings.Count(strings.Join(answers, ","), "200")
			})
		}
	})
	seen := m.Arrivals()
	require.Len(t, seen, through)
	for _, a := range seen {
		require.Equal(t, "POST /generate", a.Method+" "+a.Target)
		require.Equal(t, `{"inputs":"a"}`, a.Body)
	}
	require.Zero(t, u.Metric("usher_in_flight"))
}

// The same with nginx as the model server, so that two parsers meet: it must see
// exactly the requests that were let through.
func TestFramingCorpusBeforeNginx(t *testing.T) {
	t.Parallel()
	nginx := rig.Need(t, "nginx", "nginx-light")
	dir := t.TempDir()
	socket, access := filepath.Join(dir, "socket"), filepath.Join(dir, "access.log")
	conf := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, `
daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error.log info;
events {}
http {
  log_format line escape=json '$request|$status';
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  server {
    listen unix:%[2]s;
    access_log %[3]s line;
    location = /health { access_log off; return 200; }
    location / { default_type application/json; return 200 '{"generated_text":"ok"}'; }
  }
}`, dir, socket, access), 0o600))
	server := exec.Command(nginx, "-c", conf, "-p", dir)
	require.NoError(t, server.Start())
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })

	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Env{
		"USHER_ENDPOINT": rig.Endpoint, "USHER_WORKER_URL": rig.URL, "USHER_PUBLIC_KEY": s.Public(),
		"USHER_UPSTREAM_URL": "unix:" + socket, "USHER_REORDER_HOLD": "0", "USHER_MAX_BODY_BYTES": "100000",
	}).Ready()
	var mu sync.Mutex
	through := 0
	t.Run("cases", func(t *testing.T) {
		for _, c := range framingCorpus(t) {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				answers, _ := send(u, t, c, s)
				assert.Equal(t, strings.Join(c.answers, ","), strings.Join(answers, ","))
				mu.Lock()
				defer mu.Unlock()
				through += strings.Count(strings.Join(answers, ","), "200")
			})
		}
	})
	u.Kill() // closes its connections; nginx then writes what is left
	lines := 0
	require.Eventually(t, func() bool {
		file, err := os.Open(access)
		require.NoError(t, err)
		defer func() { _ = file.Close() }()
		lines = 0
		for scan := bufio.NewScanner(file); scan.Scan(); lines++ {
			require.Equal(t, "POST /generate HTTP/1.1|200", scan.Text())
		}
		return lines >= through
	}, rig.Patience, 20*time.Millisecond)
	require.Equal(t, through, lines)
}
