package contract

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// A request with several faults is refused for the one that the contract checks first.
func TestOrderOfChecks(t *testing.T) {
	t.Parallel()
	s, other := rig.NewSigner(t), rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_MAX_BODY_BYTES": "2000", "USHER_REPLAY_WINDOW": "100", "USHER_COST_POLICY": "enforce"})).Ready()
	spent := s.Numbered(1000)
	require.Equal(t, 200, u.Post("/generate", spent.Flat("")).Status)
	large := strings.Repeat("x", 3000)
	gzip := http.Header{"Content-Encoding": {"gzip"}}
	wrong := func(t rig.Ticket) rig.Ticket { return t.With("endpoint", `"b"`).With("url", `"http://b"`) }
	const dear = `"parameters":{"max_new_tokens":9999},"max_tokens":9999`
	tests := []struct {
		name, method, path string
		body               []byte
		header             http.Header
		status             int
		code               string
	}{
		{"404 before 405, 415, 413", "PUT", "/nowhere", []byte(large), gzip, 404, "route_unknown"},
		{"405 before 415, 413", "PUT", "/generate", []byte(large), gzip, 405, "method_not_allowed"},
		{"415 before 413", "POST", "/generate", []byte(large), gzip, 415, "unsupported_encoding"},
		{"413 before 400", "POST", "/generate", []byte(large), nil, 413, "body_too_large"},
		{"400 before 422", "POST", "/generate", []byte(`{"reqnum":"x"}x`), nil, 400, "invalid_json"},
		{"400 for a duplicate before 422", "POST", "/generate", []byte(`{"reqnum":"x","reqnum":1}`), nil, 400, "invalid_json"},
		{"422 before 403", "POST", "/generate", wrong(s.Numbered(1001)).With("cost", "-1").Flat(""), nil, 422, "invalid_ticket"},
		{"endpoint before url", "POST", "/generate", wrong(s.Numbered(1001)).Flat(""), nil, 403, "endpoint_mismatch"},
		{"url before replay", "POST", "/generate", spent.With("url", `"http://b"`).Flat(""), nil, 403, "url_mismatch"},
		{"replay before signature", "POST", "/generate", other.Numbered(1000).Flat(""), nil, 409, "reqnum_replayed"},
		{"stale before signature", "POST", "/generate", other.Numbered(1).Flat(""), nil, 409, "reqnum_stale"},
		{"signature before cost", "POST", "/generate", other.Numbered(1002).Flat(dear), nil, 401, "bad_signature"},
		{"cost", "POST", "/generate", s.Numbered(1003).Flat(dear), nil, 403, "cost_exceeded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := u.Do(tt.method, tt.path, tt.body, tt.header)
			require.Equal(t, tt.status, got.Status, got.Body)
			require.Equal(t, tt.code, got.Code())
			require.Equal(t, got.Status == 401 || got.Status == 403 || got.Status == 409, got.Header.Get("X-Should-Retry") == "false")
		})
	}
}

// Every refusal has exactly the members of its shape.
func TestShapesAreExact(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s)).Ready()
	for path, members := range map[string][]string{
		"/generate": {"error", "error_type", "request_id"}, "/v1/chat/completions": {"error", "request_id"},
		"/nowhere": {"error", "error_type", "request_id"}, "/v1/nowhere": {"error", "request_id"},
	} {
		got := u.Do("POST", path, []byte("{}"), http.Header{"X-Request-Id": {"an-id"}})
		var object map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(got.Body), &object))
		require.Len(t, object, len(members), path)
		require.JSONEq(t, `"an-id"`, string(object["request_id"]))
		require.Equal(t, "an-id", got.Header.Get("X-Request-Id"))
		require.Equal(t, "application/json", got.Header.Get("Content-Type"))
		if len(members) == 2 {
			var inner map[string]any
			require.NoError(t, json.Unmarshal(object["error"], &inner))
			require.Len(t, inner, 4)
			require.Nil(t, inner["param"])
			require.Equal(t, inner["type"], inner["code"])
		}
	}
}

// A client that sends all of a large body before it reads still sees the refusal and
// not a reset.
func TestRefusalIsSeenBehindALargeBody(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{"USHER_MAX_BODY_BYTES": "100000"})).Ready()
	large := strings.Repeat("x", 8<<20)
	tests := []struct {
		name, head string
		chunked    bool
		status     int
	}{
		{"unknown route", "POST /nowhere", false, 404},
		{"method", "PUT /generate", false, 405},
		{"encoding", "POST /generate", false, 415},
		{"declared too large", "POST /generate", false, 413},
		{"chunks too large", "POST /generate", true, 413},
		{"chunks to an unknown route", "POST /nowhere", true, 404},
		{"two lengths", "POST /generate", false, 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := rig.Dial(t, u.Public)
			more := map[string]string{"encoding": "Content-Encoding: zstd\r\n", "two lengths": "Content-Length: 7\r\n"}[tt.name]
			body := large
			if tt.chunked {
				more += "Transfer-Encoding: chunked\r\n"
				body = strings.Repeat("10000\r\n"+large[:1<<16]+"\r\n", 8<<20>>16) + "0\r\n\r\n"
			} else {
				more += "Content-Length: " + rig.Itoa(len(body)) + "\r\n"
			}
			w.Send(tt.head + " HTTP/1.1\r\nHost: a\r\n" + more + "\r\n" + body)
			resp, err := http.ReadResponse(w.In, nil)
			require.NoError(t, err)
			text, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, tt.status, resp.StatusCode, string(text))
			require.NoError(t, w.Conn.(*net.TCPConn).CloseWrite())
			require.True(t, w.Closed())
		})
	}
}

// 100 Continue is sent if the body will be read, and not if the request is refused.
func TestExpectContinue(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{"USHER_MAX_BODY_BYTES": "5000"})).Ready()
	body := s.Ticket().Flat("")
	w := rig.Dial(t, u.Public)
	w.Send("POST /generate HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: " + rig.Itoa(len(body)) + "\r\n\r\n")
	line, err := w.In.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 100 Continue\r\n", line)
	_, err = w.In.ReadString('\n')
	require.NoError(t, err)
	w.Send(string(body))
	require.Contains(t, w.Response(), "200 OK")
	for head, status := range map[string]string{
		"POST /nowhere HTTP/1.1\r\nContent-Length: 5": "404", "GET /generate HTTP/1.1\r\nContent-Length: 5": "405",
		"POST /generate HTTP/1.1\r\nContent-Length: 5001":                       "413",
		"POST /generate HTTP/1.1\r\nContent-Encoding: br\r\nContent-Length: 50": "415",
	} {
		w := rig.Dial(t, u.Public)
		w.Send(head + "\r\nHost: a\r\nExpect: 100-continue\r\n\r\n")
		require.True(t, strings.HasPrefix(w.Response(), status), head)
		require.NoError(t, w.Conn.(*net.TCPConn).CloseWrite())
		require.True(t, w.Closed())
	}
}

// Connections are limited as the settings say.
func TestConnectionLimits(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	t.Run("read time-out", func(t *testing.T) {
		u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{"USHER_READ_TIMEOUT": "2s"})).Ready()
		var cases sync.WaitGroup
		defer cases.Wait()
		for _, begun := range []string{"POST /generate HTTP/1.1\r\nHost: a\r\n", "POST /gen", "POST /generate HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{",
			"POST /generate HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "POST /generate HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5",
			"POST /generate HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}", "POST /generate HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"} {
			rig.SideBySide(t, &cases, fmt.Sprintf("%q", begun), func(t *testing.T) {
				w := rig.Dial(t, u.Public)
				w.Send(begun)
				got := w.Response()
				require.True(t, strings.HasPrefix(got, "408"), got)
				require.Contains(t, got, "bad_request")
				require.NoError(t, w.Conn.(*net.TCPConn).CloseWrite())
				require.True(t, w.Closed())
			})
		}
	})
	t.Run("idle time-out", func(t *testing.T) {
		u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{"USHER_IDLE_TIMEOUT": "200ms"})).Ready()
		w := rig.Dial(t, u.Public)
		w.Send("GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
		require.Contains(t, w.Response(), "pong")
		require.True(t, w.Closed())
	})
	t.Run("connections of one address", func(t *testing.T) {
		u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{"USHER_MAX_CONNECTIONS_PER_IP": "2"})).Ready()
		held := []*rig.Wire{rig.Dial(t, u.Public), rig.Dial(t, u.Public)}
		for _, w := range held {
			w.Send("GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
			require.Contains(t, w.Response(), "pong")
		}
		served := func() bool {
			c, err := net.Dial("tcp", u.Public)
			if err != nil {
				return false // the reset may come this early
			}
			defer func() { _ = c.Close() }()
			_ = c.SetDeadline(time.Now().Add(rig.Patience))
			_, _ = io.WriteString(c, "GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
			_, err = http.ReadResponse(bufio.NewReader(c), nil)
			return err == nil
		}
		require.False(t, served())
		require.NoError(t, held[0].Close())
		require.Eventually(t, served, rig.Patience, 5*time.Millisecond)
	})
}

// The small endpoints beside the routes.
func TestAsides(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_ROUTES": "/generate,/ping,/health"})).Ready()
	require.Equal(t, "pong", u.Do("GET", "/ping", nil, nil).Body)
	require.Equal(t, 200, u.Do("GET", "/health", nil, nil).Status)
	require.Equal(t, 200, u.Do("HEAD", "/health", nil, nil).Status)
	require.Equal(t, 200, u.Do("HEAD", "/ping", nil, nil).Status)
	require.Equal(t, 405, u.Do("PUT", "/ping", nil, nil).Status)
	got := u.Post("/ping", s.Ticket().Flat(""))
	require.Equal(t, 200, got.Status)
	require.Equal(t, "/ping", m.Arrivals()[0].Target)
	for path, method := range map[string]string{"/livez": "GET", "/readyz": "GET", "/metrics": "GET", "/": "GET"} {
		req, err := http.NewRequest(method, "http://"+u.Admin+path, nil)
		require.NoError(t, err)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		_ = resp.Body.Close()
		require.Equal(t, 200, resp.StatusCode, path)
	}
	for _, path := range []string{"/healthz", "/healthcheck"} {
		require.Equal(t, "route_unknown", u.Do("GET", path, nil, nil).Code(), path)
		resp, err := http.Get("http://" + u.Admin + path)
		require.NoError(t, err)
		_ = resp.Body.Close()
		require.Equal(t, 404, resp.StatusCode, path)
	}
	resp, err := http.Get("http://" + u.Admin + "/drain")
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, 405, resp.StatusCode)
	require.Equal(t, "POST", resp.Header.Get("Allow"))
	require.Equal(t, 200, u.Do("GET", "/health", nil, nil).Status, "a GET must not start a drain")
}
