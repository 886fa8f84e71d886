package test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A client that obeys x-should-retry does not try a spent ticket again, and is
// not kept from trying one that is still good.
func TestShouldRetry(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	m := newModel(t, func(w http.ResponseWriter, r *http.Request) {
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
	u := start(t, settings(m, s).with(env{"USHER_UPSTREAM_TIMEOUT": "100ms"})).ready()
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
		ticket := s.ticket()
		head := http.Header{"Status": {tt.status}, "Own": {tt.own}, "Content-Type": {"application/json"}}
		got := u.do("POST", "/v1/chat/completions", ticket.flat(""), head)
		require.Equal(t, tt.want, got.header.Values("X-Should-Retry"), "%s %s", tt.status, tt.own)
		code := map[string]string{"break": "upstream_broken", "0": "upstream_timeout"}[tt.status]
		require.Equal(t, code, got.header.Get("X-Usher-Refusal"))
		again := u.post("/v1/chat/completions", ticket.flat(""))
		require.Equal(t, "reqnum_replayed", again.code(), "it was spent")
		require.Contains(t, again.body, "was spent by an earlier try")
	}
	u = start(t, settings(m, s).with(env{"USHER_UPSTREAM_URL": "http://127.0.0.1:1"}))
	got := u.post("/generate", s.ticket().flat(""))
	require.Equal(t, "upstream_unreachable", got.code())
	require.Empty(t, got.header.Values("X-Should-Retry"), "nothing was sent")
}

// A drain that ends while the model server has not answered yet: the ticket is
// spent, and the answer's code is one that says so.
func TestCutBeforeTheHead(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	m := newModel(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	u := start(t, settings(m, s).with(env{"USHER_DRAIN_TIMEOUT": "1h"})).ready()
	answered := make(chan answer, 1)
	body := s.ticket().flat("")
	go func() { answered <- u.post("/generate", body) }()
	require.Eventually(t, func() bool { return len(m.arrivals()) == 1 }, patience, time.Millisecond)
	u.signal(syscall.SIGTERM)
	u.waitLine(`"msg":"draining"`)
	u.signal(syscall.SIGTERM)
	got := <-answered
	require.Equal(t, 502, got.status)
	require.Equal(t, "upstream_broken", got.code())
	require.Equal(t, "false", got.header.Get("X-Should-Retry"))
	require.Contains(t, got.body, "shut down")
	u.waitLine(`"outcome":"cut"`)
	require.Equal(t, 1, u.wait())
}

// Behind slots that do not become free a client is sent away for long; where
// nobody waits, for a moment.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	m := newModel(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	u := start(t, settings(m, s).with(env{
		"USHER_MAX_CONCURRENCY": "1", "USHER_QUEUE_CAPACITY": "1", "USHER_QUEUE_TIMEOUT": "1h",
	})).ready()
	for i := range 2 {
		body := s.ticket().flat("")
		go func() {
			_, _ = http.Post("http://"+u.public+"/generate", "application/json", strings.NewReader(string(body)))
		}()
		require.Eventually(t, func() bool { return u.metric("usher_waiting") == float64(i) && len(m.arrivals()) == 1 }, patience, time.Millisecond)
	}
	told := map[int]bool{}
	for range 40 {
		got := u.post("/generate", s.ticket().flat(""))
		require.Equal(t, "queue_full", got.code())
		seconds, err := strconv.Atoi(got.header.Get("Retry-After"))
		require.NoError(t, err)
		require.True(t, 22 <= seconds && seconds <= 30, seconds)
		told[seconds] = true
	}
	require.Greater(t, len(told), 1, "not all come back at once")

	keyless := env{"USHER_PUBLIC_KEY": "", "USHER_PUBLIC_KEY_URL": "http://127.0.0.1:1/"}
	got := start(t, settings(m, s).with(keyless)).post("/generate", s.ticket().flat(""))
	require.Equal(t, "key_unavailable", got.code())
	require.Contains(t, []string{"1", "2"}, got.header.Get("Retry-After"))
}

// What a client is told fits this worker.
func TestMessagesNameWhatIsServed(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	u := start(t, settings(newModel(t, nil), s).with(env{"USHER_ROUTES": "/v1/chat/completions,/api/chat", "USHER_MAX_BODY_BYTES": "4000"}))
	got := u.post("/generate", s.ticket().flat(""))
	require.Equal(t, 404, got.status)
	require.Contains(t, got.body, "/v1/chat/completions, /api/chat")
	require.NotContains(t, got.body, "/generate")

	large := strings.Repeat("x", 5000)
	for _, got := range []answer{
		u.post("/api/chat", s.ticket().flat(`"a":"`+large+`"`)),
		u.do("POST", "/api/chat", []byte(large), http.Header{"Transfer-Encoding": {"chunked"}}),
	} {
		require.Equal(t, 413, got.status)
		require.Contains(t, got.body, "at most 4000 bytes")
		require.NotContains(t, got.body, "prompt")
	}
	const urlEncoded = "application/x-www-form-urlencoded"
	for _, tt := range []struct{ contentType, body, says string }{
		{"multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"cost\"\r\n\r\n1\r\n--b--\r\n", "it is a multipart form; send the ticket and the model's members as one JSON object"},
		{"", "--b\r\nContent-Disposition: form-data; name=\"cost\"\r\n\r\n1\r\n--b--\r\n", "multipart form"},
		{urlEncoded, "cost=1&endpoint=E", "it is a form; send"},
		{urlEncoded, `{"cost":1,}`, "a syntax error, at offset 10"},
		{"application/json", "cost=1", "a syntax error, at offset 0"},
	} {
		got := u.do("POST", "/api/chat", []byte(tt.body), http.Header{"Content-Type": {tt.contentType}})
		require.Equal(t, 400, got.status)
		require.Equal(t, "invalid_json", got.code())
		require.Contains(t, got.body, tt.says, fmt.Sprintf("%s %s", tt.contentType, tt.body))
	}
}
