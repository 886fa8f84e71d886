package streams

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// Every event arrives before the next one is sent: nothing is buffered.
func TestStreamIsPassedOnAsItComes(t *testing.T) {
	t.Parallel()
	s, script := rig.NewSigner(t), rig.NewSteps()
	u := rig.Start(t, rig.Settings(rig.NewModel(t, script.Serve), s))
	resp := u.Open(t.Context(), "/generate_stream", s.Ticket().Flat(`"inputs":"hi"`))
	defer func() { _ = resp.Body.Close() }()
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	require.Empty(t, resp.Header.Values("Server"))
	in := bufio.NewReader(resp.Body)
	for i := range 20 {
		event := fmt.Sprintf("data: {\"token\":%d}\n\n", i)
		script.Events <- event
		got := make([]byte, len(event))
		_, err := io.ReadFull(in, got)
		require.NoError(t, err)
		require.Equal(t, event, string(got))
	}
	close(script.Events)
	rest, err := io.ReadAll(in)
	require.NoError(t, err)
	require.Empty(t, rest)
	line := u.WaitLine(`"outcome":"ok"`)
	require.Contains(t, line, `"route":"/generate_stream"`)
}

// A response of declared length that trickles in is forwarded as it arrives, too.
func TestDeclaredLengthIsPassedOnAsItComes(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	next := make(chan struct{})
	m := rig.NewModel(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "30")
		for i := range 3 {
			_, _ = fmt.Fprintf(w, "part %d...\n", i)
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	})
	u := rig.Start(t, rig.Settings(m, s))
	resp := u.Open(t.Context(), "/generate", s.Ticket().Flat(""))
	defer func() { _ = resp.Body.Close() }()
	require.EqualValues(t, 30, resp.ContentLength)
	for i := range 3 {
		got := make([]byte, 10)
		_, err := io.ReadFull(resp.Body, got)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("part %d...\n", i), string(got))
		next <- struct{}{}
	}
}

// If the model server dies in mid-stream, the client gets an error in the form its API
// uses, then a cut.
func TestModelDiesMidStream(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ path, contentType, sent, want string }{
		{"/generate_stream", "text/event-stream", "data: {\"tok", "data: {\"tok\n\ndata: {\"error\":\""},
		{"/v1/chat/completions", "Text/Event-Stream; charset=utf-8", "data: {\"tok", "data: {\"tok\n\ndata: {\"error\":{\"message\":\""},
		{"/v1/messages", "text/event-stream", "data: 1\n\n", "data: 1\n\nevent: error\ndata: {\"type\":\"error\",\"error\":{\"message\":\""},
		{"/api/chat", "application/x-ndjson", "{\"done\":false}\n", "{\"done\":false}\n{\"error\":\""},
		{"/api/generate", "application/x-ndjson; charset=utf-8", "{\"resp", "{\"resp\n{\"error\":\""},
		{"/v1/completions", "application/x-ndjson", "{}\n", "{}\n{\"error\":\""},
		{"/v1/completions", "application/json", "{\"a\":", "{\"a\":"},
	} {
		t.Run(tt.path, func(t *testing.T) {
			t.Parallel()
			s, kill := rig.NewSigner(t), make(chan struct{})
			m := rig.NewModel(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.contentType)
				_, _ = io.WriteString(w, tt.sent)
				_ = http.NewResponseController(w).Flush()
				<-kill
				panic(http.ErrAbortHandler)
			})
			u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_ROUTES": tt.path}))
			resp := u.Open(t.Context(), tt.path, s.Ticket().Flat(""))
			defer func() { _ = resp.Body.Close() }()
			first := make([]byte, len(tt.sent))
			_, err := io.ReadFull(resp.Body, first)
			require.NoError(t, err)
			close(kill)
			rest, err := io.ReadAll(resp.Body)
			require.Error(t, err, "a broken stream must not end cleanly")
			got := string(first) + string(rest)
			require.True(t, strings.HasPrefix(got, tt.want), got)
			u.WaitLine(`"outcome":"upstream_broken"`)
			if tt.want == tt.sent {
				require.Equal(t, tt.sent, got, "nothing may be appended to an answer that is no stream")
				return
			}
			require.Contains(t, got, "upstream_broken")
			require.Contains(t, got, resp.Header.Get("X-Request-Id"))
			require.True(t, strings.HasSuffix(got, "\n"), "the last line must be complete")
			lines := strings.Split(strings.TrimRight(got, "\n"), "\n")
			require.True(t, json.Valid([]byte(strings.TrimPrefix(lines[len(lines)-1], "data: "))), got)
		})
	}
}

// The same for an HTTP/1.0 client, whose answer only the connection can end.
func TestHTTP10(t *testing.T) {
	t.Parallel()
	s, script := rig.NewSigner(t), rig.NewSteps()
	u := rig.Start(t, rig.Settings(rig.NewModel(t, script.Serve), s))
	body := s.Ticket().Flat("")
	go func() {
		script.Events <- "data: 1\n\n"
		close(script.Events)
	}()
	got := u.Raw(fmt.Sprintf("POST /generate_stream HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s", len(body), body), rig.Patience)
	require.True(t, strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n"), got)
	require.NotContains(t, strings.ToLower(got), "transfer-encoding")
	require.True(t, strings.HasSuffix(got, "\r\n\r\ndata: 1\n\n"), got)
}

// The model server dies before it sends a head, or was never there.
func TestModelDiesBeforeItsHead(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	u := rig.Start(t, rig.Settings(m, s))
	spent := s.Ticket()
	got := u.Post("/generate", spent.Flat(""))
	require.Equal(t, 502, got.Status)
	require.Equal(t, "upstream_broken", got.Code())
	require.Equal(t, "reqnum_replayed", u.Post("/generate", spent.Flat("")).Code())
	require.Len(t, m.Arrivals(), 1, "the request must not be sent twice")

	u = rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_UPSTREAM_URL": "http://127.0.0.1:1"}))
	for range 2 { // a ticket that was not sent stays good
		got = u.Post("/generate", spent.Flat(""))
		require.Equal(t, 502, got.Status)
		require.Equal(t, "upstream_unreachable", got.Code())
	}
}

func TestModelSilent(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	release := make(chan struct{})
	m := rig.NewModel(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Stall") == "body" {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: 1\n\n")
			_ = http.NewResponseController(w).Flush()
		}
		<-release
	})
	defer close(release)
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_UPSTREAM_TIMEOUT": "150ms"}))
	got := u.Post("/generate", s.Ticket().Flat(""))
	require.Equal(t, 504, got.Status)
	require.Equal(t, "upstream_timeout", got.Code())

	u = rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_STREAM_IDLE_TIMEOUT": "150ms"}))
	req, err := http.NewRequest("POST", "http://"+u.Public+"/generate_stream", bytes.NewReader(s.Ticket().Flat("")))
	require.NoError(t, err)
	req.Header.Set("X-Stall", "body")
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	require.Error(t, err)
	require.Contains(t, string(text), "upstream_timeout")
}

// What is forwarded, and what is not.
func TestForwarding(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Set-Cookie"] = []string{"a=1; Path=/", "a=2; Path=/x"}
		w.Header().Set("X-Model", "llama")
		w.Header().Set("Connection", "X-Private")
		w.Header().Set("X-Private", "hop")
		w.Header()["Date"] = nil
		w.WriteHeader(418)
		_, _ = io.WriteString(w, "short and stout")
	})
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_UPSTREAM_AUTHORIZATION": "Bearer inside"}))
	header := http.Header{
		"Authorization": {"Bearer customer"}, "Connection": {"X-Hop, keep-alive"}, "X-Hop": {"1"},
		"X-Request-Id": {"my-id:7"}, "Traceparent": {"00-1-2-01"}, "X-Twice": {"a", "b"},
		"User-Agent": {""}, "Proxy-Authorization": {"secret"}, "Te": {"trailers"},
	}
	body := s.Ticket().Flat(` "n" : 1e2 ,  "b":[ 1,2 ]`)
	got := u.Do("POST", "/generate?x=1&api_key=secret&y=%20", body, header)
	require.Equal(t, 418, got.Status)
	require.Equal(t, "short and stout", got.Body)
	require.Equal(t, []string{"a=1; Path=/", "a=2; Path=/x"}, got.Header.Values("Set-Cookie"))
	require.Equal(t, "llama", got.Header.Get("X-Model"))
	require.Empty(t, got.Header.Get("X-Private"))
	require.Empty(t, got.Header.Values("Date"))
	require.Equal(t, "my-id:7", got.Header.Get("X-Request-Id"))

	seen := m.Arrivals()
	require.Len(t, seen, 1)
	in := seen[0]
	require.Equal(t, "/generate?x=1&y=%20", in.Target)
	require.Equal(t, `{"n" : 1e2 ,  "b":[ 1,2 ]}`, in.Body)
	require.Equal(t, "Bearer inside", in.Header.Get("Authorization"))
	require.Equal(t, "my-id:7", in.Header.Get("X-Request-Id"))
	require.Equal(t, "00-1-2-01", in.Header.Get("Traceparent"))
	require.Equal(t, []string{"a", "b"}, in.Header.Values("X-Twice"))
	for _, name := range []string{"X-Hop", "Proxy-Authorization", "Te", "User-Agent", "Connection"} {
		require.Empty(t, in.Header.Values(name), name)
	}
	for _, line := range u.Log() {
		require.NotContains(t, line, "secret")
		require.NotContains(t, line, "customer")
	}
}

func TestNestedAndFlatAreForwardedAsTheyWere(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	u := rig.Start(t, rig.Settings(m, s))
	payload := "{ \"inputs\" : \"caf\\u00e9 \\ud83d\\ude00\",\n\t\"x\":[1.0, 2e-3,null] , \"cost\": 7 }"
	require.Equal(t, 200, u.Post("/generate", s.Ticket().Nested(payload)).Status)
	require.Equal(t, payload, m.Arrivals()[0].Body)
}
