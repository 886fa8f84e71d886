package contract

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// A client that obeys x-should-retry does not retry a spent ticket, and may retry one
// that is still good.
func TestShouldRetry(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, func(w http.ResponseWriter, r *http.Request) {
		if own := r.Header.Get("Own"); own != "" {
			w.Header().Set("X-Should-Retry", own)
		}
		status, err := strconv.Atoi(r.Header.Get("Status"))
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if status == 0 {
			<-r.Context().Done()
			return
		}
		w.WriteHeader(status)
	})
	patient := rig.Start(t, rig.Settings(m, s)).Ready()
	hasty := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_UPSTREAM_TIMEOUT": "1s"})).Ready()
	for _, tt := range []struct {
		status, own string
		want        []string // of the header, all its values
	}{
		{"200", "", nil}, {"400", "", nil}, {"404", "", nil}, {"422", "", nil},
		{"408", "", []string{"false"}}, {"409", "", []string{"false"}}, {"429", "", []string{"false"}},
		{"500", "", []string{"false"}}, {"503", "", []string{"false"}}, {"599", "", []string{"false"}},
		{"429", "true", []string{"true"}}, {"503", "false", []string{"false"}}, {"200", "true", []string{"true"}},
		{"break", "", []string{"false"}}, {"0", "", []string{"false"}},
	} {
		u := patient
		if tt.status == "0" {
			u = hasty
		}
		ticket := s.Ticket()
		head := http.Header{"Status": {tt.status}, "Own": {tt.own}, "Content-Type": {"application/json"}}
		got := u.Do("POST", "/v1/chat/completions", ticket.Flat(""), head)
		require.Equal(t, tt.want, got.Header.Values("X-Should-Retry"), "%s %s", tt.status, tt.own)
		code := map[string]string{"break": "upstream_broken", "0": "upstream_timeout"}[tt.status]
		require.Equal(t, code, got.Header.Get("X-Usher-Refusal"))
		again := u.Post("/v1/chat/completions", ticket.Flat(""))
		require.Equal(t, "reqnum_replayed", again.Code(), "a ticket that was sent must be spent")
		require.Contains(t, again.Body, "was spent by an earlier attempt")
	}
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_UPSTREAM_URL": "http://127.0.0.1:1"}))
	got := u.Post("/generate", s.Ticket().Flat(""))
	require.Equal(t, "upstream_unreachable", got.Code())
	require.Empty(t, got.Header.Values("X-Should-Retry"), "a client may retry what was not sent")
}

// When a drain ends before the model server has answered, the ticket is spent, and the
// code of the answer says so.
func TestCutBeforeTheHead(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_DRAIN_TIMEOUT": "1h"})).Ready()
	answered := make(chan rig.Answer, 1)
	body := s.Ticket().Flat("")
	go func() { answered <- u.Post("/generate", body) }()
	require.Eventually(t, func() bool { return len(m.Arrivals()) == 1 }, rig.Patience, time.Millisecond)
	u.Signal(syscall.SIGTERM)
	u.WaitLine(`"msg":"draining"`)
	u.Signal(syscall.SIGTERM)
	got := <-answered
	require.Equal(t, 502, got.Status)
	require.Equal(t, "upstream_broken", got.Code())
	require.Equal(t, "false", got.Header.Get("X-Should-Retry"))
	require.Contains(t, got.Body, "shut down")
	u.WaitLine(`"outcome":"cut"`)
	require.Equal(t, 1, u.Wait())
}

// Retry-After is long when slots do not become free, and short when nobody waits.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{
		"USHER_MAX_CONCURRENCY": "1", "USHER_QUEUE_CAPACITY": "1", "USHER_QUEUE_TIMEOUT": "1h",
	})).Ready()
	for i := range 2 {
		body := s.Ticket().Flat("")
		go func() {
			_, _ = http.Post("http://"+u.Public+"/generate", "application/json", strings.NewReader(string(body)))
		}()
		require.Eventually(t, func() bool { return u.Metric("usher_waiting") == float64(i) && len(m.Arrivals()) == 1 }, rig.Patience, time.Millisecond)
	}
	told := map[int]bool{}
	for range 40 {
		got := u.Post("/generate", s.Ticket().Flat(""))
		require.Equal(t, "queue_full", got.Code())
		seconds, err := strconv.Atoi(got.Header.Get("Retry-After"))
		require.NoError(t, err)
		require.True(t, 22 <= seconds && seconds <= 30, seconds)
		told[seconds] = true
	}
	require.Greater(t, len(told), 1, "clients must not all be told the same delay")

	keyless := rig.Env{"USHER_PUBLIC_KEY": "", "USHER_PUBLIC_KEY_URL": "http://127.0.0.1:1/"}
	got := rig.Start(t, rig.Settings(m, s).With(keyless)).Post("/generate", s.Ticket().Flat(""))
	require.Equal(t, "key_unavailable", got.Code())
	require.Contains(t, []string{"1", "2"}, got.Header.Get("Retry-After"))
}

// Messages name what this worker serves and allows.
func TestMessagesNameWhatIsServed(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{"USHER_ROUTES": "/v1/chat/completions,/api/chat", "USHER_MAX_BODY_BYTES": "4000"}))
	got := u.Post("/generate", s.Ticket().Flat(""))
	require.Equal(t, 404, got.Status)
	require.Contains(t, got.Body, "/v1/chat/completions, /api/chat")
	require.NotContains(t, got.Body, "/generate")

	large := strings.Repeat("x", 5000)
	for _, got := range []rig.Answer{
		u.Post("/api/chat", s.Ticket().Flat(`"a":"`+large+`"`)),
		u.Do("POST", "/api/chat", []byte(large), http.Header{"Transfer-Encoding": {"chunked"}}),
	} {
		require.Equal(t, 413, got.Status)
		require.Contains(t, got.Body, "at most 4000 bytes")
		require.NotContains(t, got.Body, "prompt")
	}
	const urlEncoded = "application/x-www-form-urlencoded"
	for _, tt := range []struct{ contentType, body, says string }{
		{"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"cost\"\r\n\r\n1\r\n--b--\r\n", "it is a multipart form; send the ticket and the model's members as one JSON object"},
		{"", "--b\r\nContent-Disposition: form-data; name=\"cost\"\r\n\r\n1\r\n--b--\r\n", "multipart form"},
		{urlEncoded, "cost=1&endpoint=E", "it is a form; send"},
		{urlEncoded, `{"cost":1,}`, "a syntax error, at offset 10"},
		{"application/json", "cost=1", "a syntax error, at offset 0"},
	} {
		got := u.Do("POST", "/api/chat", []byte(tt.body), http.Header{"Content-Type": {tt.contentType}})
		require.Equal(t, 400, got.Status)
		require.Equal(t, "invalid_json", got.Code())
		require.Contains(t, got.Body, tt.says, fmt.Sprintf("%s %s", tt.contentType, tt.body))
	}
}
