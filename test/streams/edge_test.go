package streams

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// Pipelined requests are answered in order, whoever answers them.
func TestPipelining(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_CORS_ORIGINS": "*"})).Ready()
	good := func() string {
		body := s.Ticket().Flat("")
		return "POST /generate HTTP/1.1\r\nHost: a\r\nContent-Length: " + rig.Itoa(len(body)) + "\r\n\r\n" + string(body)
	}
	const (
		ping      = "GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
		health    = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
		preflight = "OPTIONS /generate HTTP/1.1\r\nHost: a\r\nOrigin: https://b.example\r\nAccess-Control-Request-Method: POST\r\n\r\n"
		bad       = "POST /generate HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
	)
	tests := []struct {
		requests []string
		want     string
	}{
		{[]string{ping, good()}, "200 pong,200 {"},
		{[]string{ping, ping, good(), ping}, "200 pong,200 pong,200 {,200 pong"},
		{[]string{health, good()}, "200 ok,200 {"},
		{[]string{preflight, good()}, "204 ,200 {"},
		{[]string{good(), ping, good()}, "200 {,200 pong,200 {"},
		{[]string{bad, ping, good()}, "422 {,200 pong,200 {"},
		{[]string{good(), bad, good()}, "200 {,422 {,200 {"},
	}
	for _, tt := range tests {
		w := rig.Dial(t, u.Public)
		w.Send(strings.Join(tt.requests, ""))
		var got []string
		for range tt.requests {
			status, body, _ := strings.Cut(w.Response(), "\n")
			if strings.HasPrefix(body, "{") {
				body = "{"
			}
			got = append(got, status[:3]+" "+body)
		}
		require.Equal(t, tt.want, strings.Join(got, ","))
	}
}

// A client that half-closes has left, and gets no answer made up for it. A request
// that is refused for itself is still refused.
func TestHalfClose(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	arrived := make(chan struct{})
	m := rig.NewModel(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	u := rig.Start(t, rig.Settings(m, s)).Ready()
	rest := func(request string, until <-chan struct{}) string {
		w := rig.Dial(t, u.Public)
		w.Send(request)
		select {
		case <-until:
		case <-time.After(rig.Patience):
			require.Fail(t, "the request did not reach the model server")
		}
		require.NoError(t, w.Conn.(*net.TCPConn).CloseWrite())
		got, err := io.ReadAll(w.In)
		require.NoError(t, err)
		return string(got)
	}
	body := s.Ticket().Flat("")
	require.Empty(t, rest("POST /generate HTTP/1.1\r\nHost: a\r\nContent-Length: "+rig.Itoa(len(body))+"\r\n\r\n"+string(body), arrived))
	atOnce := make(chan struct{})
	close(atOnce)
	require.Empty(t, rest("POST /generate HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n{", atOnce))
	require.Empty(t, rest("POST /generate HTTP/1.1\r\nHos", atOnce))
	for range 20 {
		require.Contains(t, rest("POST /generate HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", atOnce), " 422 ")
		require.Contains(t, rest("POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", atOnce), " 404 ")
	}
}

// A reader that is slow but keeps reading is not cut off.
func TestSlowReaderIsNotCut(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	const size = 20 << 20
	const timeout = 3 * time.Second // a busy machine may keep the reader waiting
	m := rig.NewModel(t, func(w http.ResponseWriter, _ *http.Request) {
		for range size >> 16 {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	})
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_WRITE_TIMEOUT": timeout.String()})).Ready()
	w := rig.Dial(t, u.Public)
	w.Request("POST", "/generate", s.Ticket().Flat(""))
	resp, err := http.ReadResponse(w.In, nil)
	require.NoError(t, err)
	total, buf := 0, make([]byte, 64<<10)
	for start := time.Now(); time.Since(start) < 5*timeout/3; time.Sleep(50 * time.Millisecond) {
		n, err := resp.Body.Read(buf)
		require.NoError(t, err, "after %d bytes", total)
		total += n
	}
	n, err := io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	require.Equal(t, size, total+int(n))
}

// Refusals of bad HTTP have the shape of their route and the header fields a page
// needs.
func TestFaultsKnowTheirRoute(t *testing.T) {
	t.Parallel()
	settings := rig.Settings(rig.NewModel(t, nil), rig.NewSigner(t)).With(rig.Env{"USHER_CORS_ORIGINS": "https://ok.example"})
	patient, hasty := rig.Start(t, settings).Ready(), rig.Start(t, settings.With(rig.Env{"USHER_READ_TIMEOUT": "1s"})).Ready()
	const origin = "Host: a\r\nOrigin: https://ok.example\r\nX-Request-Id: mine\r\n"
	tests := []struct {
		name, request string
		status        int
	}{
		{"length twice", "POST /v1/completions HTTP/1.1\r\n" + origin + "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400},
		{"bare CR", "POST /v1/completions HTTP/1.1\r\n" + origin + "X: a\rb\r\n\r\n", 400},
		{"unknown coding", "POST /v1/completions HTTP/1.1\r\n" + origin + "Transfer-Encoding: foo\r\n\r\n", 400},
		{"no length", "POST /v1/completions HTTP/1.1\r\n" + origin + "Expect: x\r\nContent-Length: 1\r\n\r\nx", 417},
		{"version", "POST /v1/completions HTTP/3.0\r\n" + origin + "\r\n", 505},
		{"large head", "POST /v1/completions HTTP/1.1\r\n" + origin + "X: " + strings.Repeat("x", 100_000) + "\r\n\r\n", 431},
		{"slow head", "POST /v1/completions HTTP/1.1\r\n" + origin, 408},
		{"slow body", "POST /v1/completions HTTP/1.1\r\n" + origin + "Content-Length: 50\r\n\r\n", 408},
		{"slow chunks", "POST /v1/completions HTTP/1.1\r\n" + origin + "Transfer-Encoding: chunked\r\n\r\n5\r\nab", 408},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			u := patient
			if tt.status == http.StatusRequestTimeout {
				u = hasty
			}
			id := strings.ReplaceAll(tt.name, " ", "-")
			w := rig.Dial(t, u.Public)
			w.Send(strings.Replace(tt.request, "X-Request-Id: mine", "X-Request-Id: "+id, 1))
			resp, err := http.ReadResponse(w.In, nil)
			require.NoError(t, err)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, tt.status, resp.StatusCode)
			require.Contains(t, string(body), `"code":"bad_request","param":null`)
			require.Equal(t, "https://ok.example", resp.Header.Get("Access-Control-Allow-Origin"))
			require.Equal(t, id, resp.Header.Get("X-Request-Id"))
			require.Contains(t, string(body), `"request_id":"`+id+`"`)
			u.WaitRecord("its line", func(line string) bool {
				return strings.Contains(line, `"request_id":"`+id+`"`) && strings.Contains(line, `"route":"/v1/completions"`)
			})
		})
	}
}
