package test

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A request with several faults is refused for the first of them in the order
// of the contract.
func TestOrderOfChecks(t *testing.T) {
	t.Parallel()
	s, other := newSigner(t), newSigner(t)
	m := newModel(t, nil)
	u := start(t, settings(m, s).with(env{"USHER_MAX_BODY_BYTES": "2000", "USHER_REPLAY_WINDOW": "100", "USHER_COST_POLICY": "enforce"})).ready()
	spent := s.numbered(1000)
	require.Equal(t, 200, u.post("/generate", spent.flat("")).status)
	large := strings.Repeat("x", 3000)
	gzip := http.Header{"Content-Encoding": {"gzip"}}
	wrong := func(t ticket) ticket { return t.with("endpoint", `"b"`).with("url", `"http://b"`) }
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
		{"422 before 403", "POST", "/generate", wrong(s.numbered(1001)).with("cost", "-1").flat(""), nil, 422, "invalid_ticket"},
		{"endpoint before url", "POST", "/generate", wrong(s.numbered(1001)).flat(""), nil, 403, "endpoint_mismatch"},
		{"url before replay", "POST", "/generate", spent.with("url", `"http://b"`).flat(""), nil, 403, "url_mismatch"},
		{"replay before signature", "POST", "/generate", other.numbered(1000).flat(""), nil, 409, "reqnum_replayed"},
		{"stale before signature", "POST", "/generate", other.numbered(1).flat(""), nil, 409, "reqnum_stale"},
		{"signature before cost", "POST", "/generate", other.numbered(1002).flat(dear), nil, 401, "bad_signature"},
		{"cost", "POST", "/generate", s.numbered(1003).flat(dear), nil, 403, "cost_exceeded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := u.do(tt.method, tt.path, tt.body, tt.header)
			require.Equal(t, tt.status, got.status, got.body)
			require.Equal(t, tt.code, got.code())
			require.Equal(t, got.status == 401 || got.status == 403 || got.status == 409, got.header.Get("X-Should-Retry") == "false")
		})
	}
}

// Every refusal has exactly the members of its shape, and no others.
func TestShapesAreExact(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	u := start(t, settings(newModel(t, nil), s)).ready()
	for path, members := range map[string][]string{
		"/generate": {"error", "error_type", "request_id"}, "/v1/chat/completions": {"error", "request_id"},
		"/nowhere": {"error", "error_type", "request_id"}, "/v1/nowhere": {"error", "request_id"},
	} {
		got := u.do("POST", path, []byte("{}"), http.Header{"X-Request-Id": {"an-id"}})
		var object map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(got.body), &object))
		require.Len(t, object, len(members), path)
		require.JSONEq(t, `"an-id"`, string(object["request_id"]))
		require.Equal(t, "an-id", got.header.Get("X-Request-Id"))
		require.Equal(t, "application/json", got.header.Get("Content-Type"))
		if len(members) == 2 {
			var inner map[string]any
			require.NoError(t, json.Unmarshal(object["error"], &inner))
			require.Len(t, inner, 4)
			require.Nil(t, inner["param"])
			require.Equal(t, inner["type"], inner["code"])
		}
	}
}

// A client that sends all of a large body before it reads sees the refusal, not
// a reset.
func TestRefusalIsSeenBehindALargeBody(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	u := start(t, settings(newModel(t, nil), s).with(env{"USHER_MAX_BODY_BYTES": "100000"})).ready()
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
			w := dial(t, u.public)
			more := map[string]string{"encoding": "Content-Encoding: zstd\r\n", "two lengths": "Content-Length: 7\r\n"}[tt.name]
			body := large
			if tt.chunked {
				more += "Transfer-Encoding: chunked\r\n"
				body = strings.Repeat("10000\r\n"+large[:1<<16]+"\r\n", 8<<20>>16) + "0\r\n\r\n"
			} else {
				more += "Content-Length: " + itoa(len(body)) + "\r\n"
			}
			w.write(tt.head + " HTTP/1.1\r\nHost: a\r\n" + more + "\r\n" + body)
			resp, err := http.ReadResponse(w.in, nil)
			require.NoError(t, err)
			text, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, tt.status, resp.StatusCode, string(text))
			require.NoError(t, w.Conn.(*net.TCPConn).CloseWrite())
			require.True(t, w.closed())
		})
	}
}

// 100 Continue is sent for what will be read, and not for what is refused.
func TestExpectContinue(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	u := start(t, settings(newModel(t, nil), s).with(env{"USHER_MAX_BODY_BYTES": "5000"})).ready()
	body := s.ticket().flat("")
	w := dial(t, u.public)
	w.write("POST /generate HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: " + itoa(len(body)) + "\r\n\r\n")
	line, err := w.in.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 100 Continue\r\n", line)
	_, err = w.in.ReadString('\n')
	require.NoError(t, err)
	w.write(string(body))
	require.Contains(t, w.response(), "200 OK")
	for head, status := range map[string]string{
		"POST /nowhere HTTP/1.1\r\nContent-Length: 5": "404", "GET /generate HTTP/1.1\r\nContent-Length: 5": "405",
		"POST /generate HTTP/1.1\r\nContent-Length: 5001":                       "413",
		"POST /generate HTTP/1.1\r\nContent-Encoding: br\r\nContent-Length: 50": "415",
	} {
		w := dial(t, u.public)
		w.write(head + "\r\nHost: a\r\nExpect: 100-continue\r\n\r\n")
		require.True(t, strings.HasPrefix(w.response(), status), head)
		require.NoError(t, w.Conn.(*net.TCPConn).CloseWrite())
		require.True(t, w.closed())
	}
}

// What the settings promise of connections.
func TestConnectionLimits(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	t.Run("read time-out", func(t *testing.T) {
		u := start(t, settings(newModel(t, nil), s).with(env{"USHER_READ_TIMEOUT": "200ms"})).ready()
		for _, begun := range []string{"POST /generate HTTP/1.1\r\nHost: a\r\n", "POST /gen", "POST /generate HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{",
			"POST /generate HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "POST /generate HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5",
			"POST /generate HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}", "POST /generate HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"} {
			w := dial(t, u.public)
			w.write(begun)
			got := w.response()
			require.True(t, strings.HasPrefix(got, "408"), "%q: %s", begun, got)
			require.Contains(t, got, "bad_request")
			require.NoError(t, w.Conn.(*net.TCPConn).CloseWrite())
			require.True(t, w.closed())
		}
	})
	t.Run("idle time-out", func(t *testing.T) {
		u := start(t, settings(newModel(t, nil), s).with(env{"USHER_IDLE_TIMEOUT": "200ms"})).ready()
		w := dial(t, u.public)
		w.write("GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
		require.Contains(t, w.response(), "pong")
		require.True(t, w.closed())
	})
	t.Run("connections of one address", func(t *testing.T) {
		u := start(t, settings(newModel(t, nil), s).with(env{"USHER_MAX_CONNECTIONS_PER_IP": "2"})).ready()
		held := []*wire{dial(t, u.public), dial(t, u.public)}
		for _, w := range held {
			w.write("GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
			require.Contains(t, w.response(), "pong")
		}
		served := func() bool {
			c, err := net.Dial("tcp", u.public)
			if err != nil {
				return false // the reset may come this early
			}
			defer func() { _ = c.Close() }()
			_ = c.SetDeadline(time.Now().Add(patience))
			_, _ = io.WriteString(c, "GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
			_, err = http.ReadResponse(bufio.NewReader(c), nil)
			return err == nil
		}
		require.False(t, served())
		require.NoError(t, held[0].Close())
		require.Eventually(t, served, patience, 5*time.Millisecond)
	})
}

// The small answers beside the routes.
func TestAsides(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	m := newModel(t, nil)
	u := start(t, settings(m, s).with(env{"USHER_ROUTES": "/generate,/ping,/health"})).ready()
	require.Equal(t, "pong", u.do("GET", "/ping", nil, nil).body)
	require.Equal(t, 200, u.do("GET", "/health", nil, nil).status)
	require.Equal(t, 200, u.do("HEAD", "/health", nil, nil).status)
	require.Equal(t, 200, u.do("HEAD", "/ping", nil, nil).status)
	require.Equal(t, 405, u.do("PUT", "/ping", nil, nil).status)
	got := u.post("/ping", s.ticket().flat(""))
	require.Equal(t, 200, got.status)
	require.Equal(t, "/ping", m.arrivals()[0].target)
	for path, method := range map[string]string{"/livez": "GET", "/readyz": "GET", "/metrics": "GET", "/": "GET"} {
		req, err := http.NewRequest(method, "http://"+u.admin+path, nil)
		require.NoError(t, err)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		_ = resp.Body.Close()
		require.Equal(t, 200, resp.StatusCode, path)
	}
	resp, err := http.Get("http://" + u.admin + "/drain")
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, 405, resp.StatusCode)
	require.Equal(t, "POST", resp.Header.Get("Allow"))
	require.Equal(t, 200, u.do("GET", "/health", nil, nil).status, "a GET must not drain")
}
