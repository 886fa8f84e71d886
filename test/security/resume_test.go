package security

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/rig"
)

// Clients that make a new connection for each request resume their TLS session, so
// that only the first costs a signature.
func TestClientsResumeTheirSessions(t *testing.T) {
	t.Parallel()
	const requests = 4
	for name, tt := range map[string]struct {
		command, debian string
		args            func(url string) []string
	}{
		"curl": {"curl", "curl", func(url string) []string {
			args := []string{"--silent", "--show-error", "--fail", "--insecure", "--header", "Connection: close"}
			for range requests {
				args = append(args, "--output", os.DevNull, url)
			}
			return args
		}},
		"Node": {"node", "nodejs", func(url string) []string {
			return []string{"-e", fmt.Sprintf(`
				const https = require("https");
				const agent = new https.Agent({ keepAlive: false, rejectUnauthorized: false });
				let left = %d;
				const next = () => left-- > 0 && https.get(%q, { agent }, (r) => r.resume().on("close", next));
				next();`, requests, url)}
		}},
		"Python": {"/usr/bin/python3", "python3", func(url string) []string {
			return []string{"-c", fmt.Sprintf(`
import socket, ssl, urllib.parse
u, session, context = urllib.parse.urlsplit(%q), None, ssl._create_unverified_context()
for _ in range(%d):
    with context.wrap_socket(socket.create_connection((u.hostname, u.port)), session=session) as s:
        s.sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        while s.recv(4096): pass
        session = s.session`, url, requests)}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command := rig.Need(t, tt.command, tt.debian)
			u, _, dir := twoPairs(t, nil)
			cmd := exec.Command(command, tt.args("https://"+u.Public+"/ping")...)
			cmd.Dir = filepath.Clean(dir)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			count := func(outcome string) float64 { return u.Metric(`usher_tls_handshakes_total{outcome="` + outcome + `"}`) }
			require.Equal(t, []float64{1, requests - 1}, []float64{count("full"), count("resumed")}, "%s", out)
		})
	}
}

// So does Chromium, whose connections are closed here before it needs the next one. It
// may open two at once, before either has a session.
func TestChromiumResumesItsSessions(t *testing.T) {
	full.Only(t)
	t.Parallel()
	u, _, _ := twoPairs(t, rig.Env{"USHER_IDLE_TIMEOUT": "100ms", "USHER_READ_TIMEOUT": "2s"})
	address := "https://" + u.Public + "/ping"
	count := func(outcome string) float64 { return u.Metric(`usher_tls_handshakes_total{outcome="` + outcome + `"}`) }
	alone := func() {
		u.WaitMetric("usher_connections", 0)
	}
	b := rig.Browse(t, address, chromedp.Flag("ignore-certificate-errors", true))
	alone()
	before := count("full")
	require.Positive(t, before)
	require.LessOrEqual(t, before, 2.0)
	const visits = 4
	for range visits {
		b.Visit(address)
		alone()
	}
	require.GreaterOrEqual(t, count("resumed"), float64(visits))
	require.Equal(t, before, count("full"), "a session was not resumed")
}
