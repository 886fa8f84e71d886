package test

import (
	"bytes"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestVersionAndUsage(t *testing.T) {
	t.Parallel()
	status, out, _ := command(t, env{}, "", "version")
	require.Equal(t, 0, status)
	require.Regexp(t, `^usher \S+ \(commit \S+, go1\.\S+\)\n$`, out)
	for _, wrong := range [][]string{{"serv"}, {"version", "now"}} {
		status, _, said := command(t, env{}, "", wrong...)
		require.Equal(t, 2, status)
		require.Contains(t, said, "usher healthcheck")
	}
	status, out, _ = command(t, env{}, "", "settings")
	require.Equal(t, 0, status)
	require.Contains(t, out, "USHER_REORDER_HOLD")
}

// The manual page is the usage and the settings, in roff that man renders
// without a complaint.
func TestManual(t *testing.T) {
	t.Parallel()
	status, page, _ := command(t, env{}, "", "man")
	require.Equal(t, 0, status)
	cmd := exec.Command(need(t, "groff", "groff-base"), "-man", "-Tutf8", "-Kutf8", "-ww", "-rLL=200n", "-P-cbou")
	cmd.Stdin = strings.NewReader(page)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	shown, err := cmd.Output()
	require.NoError(t, err)
	require.Empty(t, complaints.String())
	plain := string(shown)
	_, list, _ := command(t, env{}, "", "settings")
	names := regexp.MustCompile("`(USHER_[A-Z0-9_]+)` \\|").FindAllStringSubmatch(list, -1)
	require.NotEmpty(t, names)
	for _, name := range names {
		require.Contains(t, plain, name[1])
	}
	for _, want := range []string{"usher healthcheck", `a comma inside a name is written \,`, "EXIT STATUS", "SIGHUP"} {
		require.Contains(t, plain, want)
	}
}

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	m := newModel(t, nil)
	u := start(t, settings(m, s)).ready()
	where := env{"USHER_ADMIN_ADDR": u.admin}
	status, _, _ := command(t, where, "", "healthcheck")
	require.Equal(t, 0, status)
	_, port, _ := strings.Cut(u.admin, ":")
	status, _, _ = command(t, env{"USHER_ADMIN_ADDR": ":" + port}, "", "healthcheck")
	require.Equal(t, 0, status, "an address without a host is this host")

	m.CloseClientConnections()
	m.Close()
	require.Eventually(t, func() bool {
		status, _, said := command(t, where, "", "healthcheck")
		return status == 1 && strings.Contains(said, "upstream")
	}, patience, 50*time.Millisecond)
	u.kill()
	status, _, said := command(t, where, "", "healthcheck")
	require.Equal(t, 1, status)
	require.NotEmpty(t, said)
}

// verify explains each check, and for a bad signature what was signed.
func TestVerify(t *testing.T) {
	t.Parallel()
	s, other := newSigner(t), newSigner(t)
	with := settings(newModel(t, nil), s)
	good := s.ticket()
	odd := s.signed(ticket{"cost": "256", "endpoint": quote(testEndpoint), "reqnum": "7", "url": quote(testURL)}, "url", "cost")
	for name, tt := range map[string]struct {
		input  string
		status int
		says   []string
	}{
		"a ticket":           {string(good.flat("")), 0, []string{"would pass", "verifies over cost,endpoint,reqnum,url", `endpoint "my-llama"`}},
		"a whole request":    {string(good.nested(`{"inputs":"zebra"}`)), 0, []string{"would pass", "nested"}},
		"a header line":      {"Authorization: SignedRoute " + good.token() + "\r\n", 0, []string{"would pass", "in the head", "verifies over cost,endpoint,reqnum,url", "stands in the body"}},
		"an API key":         {"sr." + good.token() + "\n", 0, []string{"would pass", "in the head"}},
		"a bare token":       {good.token(), 0, []string{"would pass", "in the head"}},
		"a bad token":        {"Bearer sr.a+b", 1, []string{"FAIL  json", "not base64url"}},
		"a token of another": {other.ticket().token(), 1, []string{"FAIL  signature"}},
		"not JSON":           {"hello", 1, []string{"FAIL  json"}},
		"half a ticket":      {`{"cost":1}`, 1, []string{"FAIL  ticket", "url is missing", "endpoint is missing"}},
		"another worker":     {string(good.with("url", `"http://x"`).flat("")), 1, []string{"FAIL  url", testURL}},
		"another endpoint":   {string(good.with("endpoint", `"x"`).flat("")), 1, []string{"FAIL  endpoint", testEndpoint}},
		"another key":        {string(other.ticket().flat("")), 1, []string{"FAIL  signature", "no known combination"}},
		"other fields":       {string(odd.flat("")), 1, []string{"FAIL  signature", "the key did sign: url,cost, printed with indent=4, cost as 256"}},
		"too much work":      {string(good.flat(`"max_tokens":9999`)), 0, []string{"note  cost", "exceeds"}},
		"not even base64":    {string(good.with("signature", `"*"`).flat("")), 1, []string{"not standard base64"}},
		"a number not there": {string(good.with("reqnum", "").flat("")), 1, []string{"reqnum is missing"}},
	} {
		t.Run(name, func(t *testing.T) {
			status, out, _ := command(t, with, tt.input, "verify")
			require.Equal(t, tt.status, status, out)
			for _, want := range tt.says {
				require.Contains(t, out, want)
			}
			require.NotContains(t, out, "zebra")
			require.Contains(t, out, "USHER_SIGNED_FIELDS")
		})
	}
	status, _, said := command(t, env{}, "", "verify")
	require.Equal(t, 2, status)
	require.Contains(t, said, "USHER_ENDPOINT")
}
