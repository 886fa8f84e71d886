package test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// seen is what these tests read of /status.json.
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

func (u *usher) look() (s seen) {
	u.t.Helper()
	code, body := u.get("/status.json")
	require.Equal(u.t, 200, code)
	require.NoError(u.t, json.Unmarshal([]byte(body), &s))
	return s
}

// The strip tells of a gap and of its filling, of a late number and of one that
// was refused; nothing of the prompt, the signature or a secret is shown.
func TestStatusTellsOfTheOrder(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	u := start(t, settings(newModel(t, nil), s).with(env{
		"USHER_REORDER_HOLD": "20s", "USHER_REORDER_MAX_HOLD": "20s", "USHER_UPSTREAM_AUTHORIZATION": "Bearer zebra",
	})).ready()
	model := `"inputs":"zebra"`
	require.Equal(t, 200, u.post("/generate", s.numbered(5).flat(model)).status)
	ahead := make(chan int, 1)
	go func() { ahead <- u.post("/generate", s.numbered(7).flat(model)).status }()
	require.Eventually(t, func() bool { return u.look().Strip.Cells == "s.w" }, patience, 5*time.Millisecond)
	require.Equal(t, 200, u.post("/generate", s.numbered(6).flat(model)).status)
	require.Equal(t, 200, <-ahead)
	require.Eventually(t, func() bool { st := u.look(); return st.Strip.Cells == "sss" && st.Strip.Marks == ".f." }, patience, 5*time.Millisecond)

	tampered := s.numbered(8).with("cost", "1.0")
	refused := u.post("/generate", tampered.flat(model))
	require.Equal(t, "bad_signature", refused.code())
	st := u.look()
	require.Equal(t, "bad_signature", st.Refusals[0].Code)
	require.Equal(t, refused.header.Get("X-Request-Id"), st.Refusals[0].RequestID)
	require.Regexp(t, `^[0-9a-f]{64}$`, st.Key.Fingerprint)
	_, all := u.get("/status.json")
	for _, secret := range []string{"zebra", strings.Trim(tampered["signature"], `"`)} {
		require.NotContains(t, all, secret)
	}
}

// An open page ends with the process, and does not hold it up.
func TestOpenPageDoesNotHoldUpTheEnd(t *testing.T) {
	t.Parallel()
	s, script := newSigner(t), newSteps()
	u := start(t, settings(newModel(t, script.serve), s)).ready()
	resp, err := http.Get("http://" + u.admin + "/events")
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	call := u.open(t.Context(), "/generate_stream", s.ticket().flat(""))
	defer func() { _ = call.Body.Close() }()
	script.send <- "data: 1\n\n"
	u.signal(syscall.SIGTERM)
	// The page still tells of the drain, and is told of the end.
	events := bufio.NewScanner(resp.Body)
	events.Buffer(nil, 1<<20)
	drained, ended := false, false
	for events.Scan() {
		line := events.Text()
		if !drained && strings.Contains(line, `"text":"Draining, with 1 request still in flight`) {
			drained = true
			close(script.send)
		}
		ended = ended || line == "event: end"
	}
	require.NoError(t, events.Err(), "the stream ends cleanly")
	require.True(t, drained)
	require.True(t, ended)
	require.Equal(t, 0, u.wait())
}

// A site that somebody visits cannot drain the worker.
func TestAnotherSiteCannotDrain(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	u := start(t, settings(newModel(t, nil), s)).ready()
	req, err := http.NewRequest("POST", "http://"+u.admin+"/drain", nil)
	require.NoError(t, err)
	req.Header.Set("Origin", "https://evil.example")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, 403, resp.StatusCode)
	status, _ := u.get("/readyz")
	require.Equal(t, 200, status)
}
