package operators

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// seen is the part of /status.json that these tests read.
type seen struct {
	Ready    bool
	Verdict  struct{ Level, Text string }
	Load     struct{ Waiting, Held int }
	Strip    struct{ Cells, Marks string }
	Refusals []struct {
		RequestID string `json:"request_id"`
		Code      string
	}
	Key      struct{ Fingerprint, Source string }
	Settings []struct{ Name, Value string }
}

func look(u *rig.Usher) (s seen) {
	u.T.Helper()
	code, body := u.Get("/status.json")
	require.Equal(u.T, 200, code)
	require.NoError(u.T, json.Unmarshal([]byte(body), &s))
	return s
}

// The strip shows a gap and its filling, a late number and a refused one. Nothing of
// the prompt, the signature or a secret is shown.
func TestStatusShowsTheOrder(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{
		"USHER_REORDER_HOLD": "20s", "USHER_REORDER_MAX_HOLD": "20s", "USHER_UPSTREAM_AUTHORIZATION": "Bearer zebra",
	})).Ready()
	model := `"inputs":"zebra"`
	require.Equal(t, 200, u.Post("/generate", s.Numbered(5).Flat(model)).Status)
	ahead := make(chan int, 1)
	go func() { ahead <- u.Post("/generate", s.Numbered(7).Flat(model)).Status }()
	require.Eventually(t, func() bool { return look(u).Strip.Cells == "s.w" }, rig.Patience, 5*time.Millisecond)
	require.Equal(t, 200, u.Post("/generate", s.Numbered(6).Flat(model)).Status)
	require.Equal(t, 200, <-ahead)
	require.Eventually(t, func() bool { st := look(u); return st.Strip.Cells == "sss" && st.Strip.Marks == ".f." }, rig.Patience, 5*time.Millisecond)

	tampered := s.Numbered(8).With("cost", "1.0")
	refused := u.Post("/generate", tampered.Flat(model))
	require.Equal(t, "bad_signature", refused.Code())
	st := look(u)
	require.Equal(t, "bad_signature", st.Refusals[0].Code)
	require.Equal(t, refused.Header.Get("X-Request-Id"), st.Refusals[0].RequestID)
	require.Regexp(t, `^[0-9a-f]{64}$`, st.Key.Fingerprint)
	_, all := u.Get("/status.json")
	for _, secret := range []string{"zebra", strings.Trim(tampered["signature"], `"`)} {
		require.NotContains(t, all, secret)
	}
}

// An open page does not keep the process from ending, and is told of the end.
func TestOpenPageDoesNotHoldUpTheEnd(t *testing.T) {
	t.Parallel()
	s, script := rig.NewSigner(t), rig.NewSteps()
	u := rig.Start(t, rig.Settings(rig.NewModel(t, script.Serve), s)).Ready()
	resp, err := http.Get("http://" + u.Admin + "/events")
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	call := u.Open(t.Context(), "/generate_stream", s.Ticket().Flat(""))
	defer func() { _ = call.Body.Close() }()
	script.Events <- "data: 1\n\n"
	u.Signal(syscall.SIGTERM)
	// The page still shows the drain, and is told of the end.
	events := bufio.NewScanner(resp.Body)
	events.Buffer(nil, 1<<20)
	drained, ended := false, false
	for events.Scan() {
		line := events.Text()
		if !drained && strings.Contains(line, `"text":"Draining, with 1 request still in flight`) {
			drained = true
			close(script.Events)
		}
		ended = ended || line == "event: end"
	}
	require.NoError(t, events.Err(), "the stream ends cleanly")
	require.True(t, drained)
	require.True(t, ended)
	require.Equal(t, 0, u.Wait())
}

// A website that somebody visits cannot drain the worker.
func TestAnotherSiteCannotDrain(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s)).Ready()
	req, err := http.NewRequest("POST", "http://"+u.Admin+"/drain", nil)
	require.NoError(t, err)
	req.Header.Set("Origin", "https://evil.example")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, 403, resp.StatusCode)
	status, _ := u.Get("/readyz")
	require.Equal(t, 200, status)
}
