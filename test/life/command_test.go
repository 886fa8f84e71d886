package life

import (
	"bytes"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

func TestVersionAndUsage(t *testing.T) {
	t.Parallel()
	status, out, _ := rig.Command(t, rig.Env{}, "", "version")
	require.Equal(t, 0, status)
	require.Regexp(t, `^usher \S+ \(commit \S+, go1\.\S+\)\n$`, out)
	for _, wrong := range [][]string{{"serv"}, {"version", "now"}} {
		status, _, said := rig.Command(t, rig.Env{}, "", wrong...)
		require.Equal(t, 2, status)
		require.Contains(t, said, "usher healthcheck")
	}
	status, out, _ = rig.Command(t, rig.Env{}, "", "settings")
	require.Equal(t, 0, status)
	require.Contains(t, out, "USHER_REORDER_HOLD")
}

// The manual page has the usage and the settings, in roff that man renders without
// complaint.
func TestManual(t *testing.T) {
	t.Parallel()
	status, page, _ := rig.Command(t, rig.Env{}, "", "man")
	require.Equal(t, 0, status)
	cmd := exec.Command(rig.Need(t, "groff", "groff-base"), "-man", "-Tutf8", "-Kutf8", "-ww", "-rLL=200n", "-P-cbou")
	cmd.Stdin = strings.NewReader(page)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	shown, err := cmd.Output()
	require.NoError(t, err)
	require.Empty(t, complaints.String())
	plain := string(shown)
	_, list, _ := rig.Command(t, rig.Env{}, "", "settings")
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
	s := rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	u := rig.Start(t, rig.Settings(m, s)).Ready()
	where := rig.Env{"USHER_ADMIN_ADDR": u.Admin}
	status, _, _ := rig.Command(t, where, "", "healthcheck")
	require.Equal(t, 0, status)
	_, port, _ := strings.Cut(u.Admin, ":")
	status, _, _ = rig.Command(t, rig.Env{"USHER_ADMIN_ADDR": ":" + port}, "", "healthcheck")
	require.Equal(t, 0, status, "an address without a host is this host")

	m.CloseClientConnections()
	m.Close()
	require.Eventually(t, func() bool {
		status, _, said := rig.Command(t, where, "", "healthcheck")
		return status == 1 && strings.Contains(said, "upstream")
	}, rig.Patience, 50*time.Millisecond)
	u.Kill()
	status, _, said := rig.Command(t, where, "", "healthcheck")
	require.Equal(t, 1, status)
	require.NotEmpty(t, said)
}

// verify explains each check, and for a bad signature what should have been signed.
func TestVerify(t *testing.T) {
	t.Parallel()
	s, other := rig.NewSigner(t), rig.NewSigner(t)
	with := rig.Settings(rig.NewModel(t, nil), s)
	good := s.Ticket()
	odd := s.Signed(rig.Ticket{"cost": "256", "endpoint": rig.Quote(rig.Endpoint), "reqnum": "7", "url": rig.Quote(rig.URL)}, "url", "cost")
	for name, tt := range map[string]struct {
		input  string
		status int
		says   []string
	}{
		"a ticket":           {string(good.Flat("")), 0, []string{"would pass", "verifies over cost,endpoint,reqnum,url", `endpoint "my-llama"`}},
		"a whole request":    {string(good.Nested(`{"inputs":"zebra"}`)), 0, []string{"would pass", "nested"}},
		"a header line":      {"Authorization: SignedRoute " + good.Token() + "\r\n", 0, []string{"would pass", "in the head", "verifies over cost,endpoint,reqnum,url", "is in the body"}},
		"an API key":         {"sr." + good.Token() + "\n", 0, []string{"would pass", "in the head"}},
		"a bare token":       {good.Token(), 0, []string{"would pass", "in the head"}},
		"a bad token":        {"Bearer sr.a+b", 1, []string{"FAIL  json", "not base64url"}},
		"a token of another": {other.Ticket().Token(), 1, []string{"FAIL  signature"}},
		"not JSON":           {"hello", 1, []string{"FAIL  json"}},
		"half a ticket":      {`{"cost":1}`, 1, []string{"FAIL  ticket", "url is missing", "endpoint is missing"}},
		"another worker":     {string(good.With("url", `"http://x"`).Flat("")), 1, []string{"FAIL  url", rig.URL}},
		"another endpoint":   {string(good.With("endpoint", `"x"`).Flat("")), 1, []string{"FAIL  endpoint", rig.Endpoint}},
		"another key":        {string(other.Ticket().Flat("")), 1, []string{"FAIL  signature", "no known combination"}},
		"other fields":       {string(odd.Flat("")), 1, []string{"FAIL  signature", "the key did sign: url,cost, printed with indent=4, cost as 256"}},
		"too much work":      {string(good.Flat(`"max_tokens":9999`)), 0, []string{"note  cost", "exceeds"}},
		"not even base64":    {string(good.With("signature", `"*"`).Flat("")), 1, []string{"not standard base64"}},
		"a number not there": {string(good.With("reqnum", "").Flat("")), 1, []string{"reqnum is missing"}},
	} {
		t.Run(name, func(t *testing.T) {
			status, out, _ := rig.Command(t, with, tt.input, "verify")
			require.Equal(t, tt.status, status, out)
			for _, want := range tt.says {
				require.Contains(t, out, want)
			}
			require.NotContains(t, out, "zebra")
			require.Contains(t, out, "USHER_SIGNED_FIELDS")
		})
	}
	status, _, said := rig.Command(t, rig.Env{}, "", "verify")
	require.Equal(t, 2, status)
	require.Contains(t, said, "USHER_ENDPOINT")
}
