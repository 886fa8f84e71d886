package streams

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// wireSettings returns the settings of an usher in front of m.
func wireSettings(m *rig.WireModel, s *rig.Signer) rig.Env {
	return rig.Env{
		"USHER_ENDPOINT": rig.Endpoint, "USHER_WORKER_URL": rig.URL, "USHER_PUBLIC_KEY": s.Public(),
		"USHER_UPSTREAM_URL": m.URL(), "USHER_REORDER_HOLD": "0",
	}
}

// What a model server may answer, byte for byte, and what arrives at the client: the
// status line, the fields except those that Usher adds, and the body.
func TestAnswersPassUnchanged(t *testing.T) {
	t.Parallel()
	const two = "Content-Length: 2\r\n\r\nok"
	tests := []struct{ name, sent, head, body string }{
		{"plain", "HTTP/1.1 200 OK\r\n" + two, "HTTP/1.1 200 OK", "ok"},
		{"its own Server and Date", "HTTP/1.1 200 OK\r\nserver: llama\r\nDATE: now\r\n" + two, "HTTP/1.1 200 OK|server: llama|DATE: now", "ok"},
		{"a reason of its own", "HTTP/1.1 201 Tokens  made\r\n" + two, "HTTP/1.1 201 Tokens  made", "ok"},
		{"no reason", "HTTP/1.1 299\r\n" + two, "HTTP/1.1 299 ", "ok"},
		{"an error", "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nWWW-Authenticate: x\r\n" + two, "HTTP/1.1 503 Busy|Retry-After: 7|WWW-Authenticate: x|X-Should-Retry: false", "ok"},
		{"compression", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nVary: Accept-Encoding\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x00", "HTTP/1.1 200 OK|Content-Encoding: gzip|Vary: Accept-Encoding", "\x1f\x8b\x00"},
		{"repeated fields", "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nX: 1\r\nSet-Cookie: b\r\n" + two, "HTTP/1.1 200 OK|Set-Cookie: a|X: 1|Set-Cookie: b", "ok"},
		{"a length stated twice in one line", "HTTP/1.1 200 OK\r\nX: 1\r\nContent-Length: 2, 2\r\n\r\nok", "HTTP/1.1 200 OK|X: 1", "ok"},
		{"blanks before colons", "HTTP/1.1 200 OK\r\nContent-Type : text/x\r\nX\t : 1\r\nKeep-Alive : 1\r\n" + two, "HTTP/1.1 200 OK|Content-Type: text/x|X: 1", "ok"},
		{"hop-by-hop fields", "HTTP/1.1 200 OK\r\nConnection: x-a\r\nX-A: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: b\r\nUpgrade: h2c\r\nTrailer: T\r\nTE: x\r\nX-B: 2\r\n" + two, "HTTP/1.1 200 OK|X-B: 2", "ok"},
		{"interim responses", "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n" + two, "HTTP/1.1 200 OK", "ok"},
		{"trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n", "HTTP/1.1 200 OK", "ok"},
		{"an empty body in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 200 OK", ""},
		{"204", "HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n", "HTTP/1.1 204 No Content|X: 1", ""},
		{"304", "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 55\r\n\r\n", "HTTP/1.1 304 Not Modified|ETag: \"a\"", ""},
		{"205", "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 205 Reset Content", ""},
		{"a large head", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 30000) + "\r\n" + two, "HTTP/1.1 200 OK|X: " + strings.Repeat("a", 30000), "ok"},
		{"an answer too many", "HTTP/1.1 200 OK\r\n" + two + "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad", "HTTP/1.1 200 OK", "ok"},
		{"a claim that is Usher's alone to make", "HTTP/1.1 429 Busy\r\nx-usher-refusal: queue_full\r\n" + two, "HTTP/1.1 429 Busy|X-Should-Retry: false", "ok"},
		{"its own X-Request-Id", "HTTP/1.1 200 OK\r\nX-Request-Id: theirs\r\n" + two, "HTTP/1.1 200 OK", "ok"},
	}
	s := rig.NewSigner(t)
	m := rig.NewWireModel(t, func(c *net.TCPConn, name string) bool {
		for _, tt := range tests {
			if tt.name == name {
				_, _ = io.WriteString(c, tt.sent)
			}
		}
		return true
	})
	u := rig.Start(t, wireSettings(m, s)).Ready()
	for _, tt := range tests {
		for _, version := range []string{"1.1", "1.0"} {
			t.Run(tt.name+" "+version, func(t *testing.T) {
				w := rig.Dial(t, u.Public)
				body := s.Ticket().Flat("")
				w.Send("POST /generate HTTP/" + version + "\r\nHost: a\r\nX-Case: " + tt.name + "\r\nX-Request-Id: mine\r\nConnection: close\r\nContent-Length: " + rig.Itoa(len(body)) + "\r\n\r\n" + string(body))
				raw, err := io.ReadAll(w.In)
				require.NoError(t, err)
				head, got, _ := strings.Cut(string(raw), "\r\n\r\n")
				var lines []string
				framed := map[string]bool{}
				for _, line := range strings.Split(head, "\r\n") {
					name, _, _ := strings.Cut(line, ":")
					switch name {
					case "X-Request-Id":
						require.Equal(t, "X-Request-Id: mine", line)
					case "Server-Timing", "Connection", "Content-Length", "Transfer-Encoding":
						require.False(t, framed[name], "twice: %s", name)
						framed[name] = true
					default:
						lines = append(lines, line)
					}
				}
				require.Equal(t, tt.head, strings.Join(lines, "|"))
				if framed["Transfer-Encoding"] {
					require.Equal(t, "1.1", version)
					resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
					require.NoError(t, err)
					whole, err := io.ReadAll(resp.Body)
					require.NoError(t, err)
					require.Empty(t, resp.Trailer)
					got = string(whole)
				}
				require.Equal(t, tt.body, got)
			})
		}
	}
}

// A model server breaks off in each phase: before its head the client gets a 502,
// afterwards a visible cut. Either way the request is sent once and the ticket spent.
func TestModelBreaksOff(t *testing.T) {
	t.Parallel()
	const sse = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
	tests := []struct {
		name, sent string
		reset      bool
		status     int
		ends       string // how what arrives ends
	}{
		{"at once", "", false, 502, ""},
		{"at once, by reset", "", true, 502, ""},
		{"in the status line", "HTTP/1.1 2", false, 502, ""},
		{"in the head", "HTTP/1.1 200 OK\r\nConte", false, 502, ""},
		{"after an interim response", "HTTP/1.1 100 Continue\r\n\r\n", false, 502, ""},
		{"with another protocol", "SSH-2.0-x\r\n\r\n", false, 502, ""},
		{"with a switch of protocols", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", false, 502, ""},
		{"with two framings", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false, 502, ""},
		{"with two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc", false, 502, ""},
		{"with a folded line", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n", false, 502, ""},
		{"in a declared length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", false, 200, "half"},
		{"in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf", false, 200, "half"},
		{"between chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", false, 200, "half"},
		{"with a malformed chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n", false, 200, "half"},
		{"by reset where the close frames", "HTTP/1.1 200 OK\r\n\r\nhalf", true, 200, "half"},
		{"in an event stream", sse + "Transfer-Encoding: chunked\r\n\r\n8\r\ndata: \xc3\xa9\r\n", false, 200, "data: \xc3\xa9\n\ndata: {"},
		{"not encoded", sse + "Content-Encoding: Identity\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n", false, 200, "data: a\n\ndata: {"},
		{"encoded", sse + "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n", false, 200, "data: a\n\n"},
		{"of declared length", sse + "Content-Length: 1000\r\n\r\ndata: a\n\n", false, 200, "data: a\n\n"},
		{"between events", sse + "Transfer-Encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n", false, 200, "data: a\n\ndata: {"},
		{"in an event stream, by reset", sse + "\r\ndata: a\n\n", true, 200, "data: a\n\ndata: {"},
	}
	s := rig.NewSigner(t)
	took := make(chan struct{}) // a client took what was sent
	m := rig.NewWireModel(t, func(c *net.TCPConn, name string) bool {
		for _, tt := range tests {
			if tt.name != name {
				continue
			}
			_, _ = io.WriteString(c, tt.sent)
			if tt.reset {
				if tt.sent != "" {
					select { // a reset overtakes what was sent
					case <-took:
					case <-t.Context().Done():
					}
				}
				_ = c.SetLinger(0)
			}
		}
		return false
	})
	u := rig.Start(t, wireSettings(m, s)).Ready()
	for _, tt := range tests {
		for _, version := range []string{"1.1", "1.0"} {
			t.Run(tt.name+" "+version, func(t *testing.T) {
				body, before := s.Ticket().Flat(""), m.Count()
				w := rig.Dial(t, u.Public)
				w.Send("POST /v1/completions HTTP/" + version + "\r\nHost: a\r\nX-Case: " + tt.name + "\r\nContent-Length: " + rig.Itoa(len(body)) + "\r\n\r\n" + string(body))
				resp, err := http.ReadResponse(w.In, nil)
				require.NoError(t, err)
				require.Equal(t, tt.status, resp.StatusCode)
				var text []byte
				if _, body, _ := strings.Cut(tt.sent, "\r\n\r\n"); tt.reset && body != "" {
					text = make([]byte, len(body))
					_, err := io.ReadFull(resp.Body, text)
					require.NoError(t, err)
					took <- struct{}{}
				}
				rest, err := io.ReadAll(resp.Body)
				text = append(text, rest...)
				if tt.status == 502 {
					require.NoError(t, err)
					require.Equal(t, "upstream_broken", rig.Answer{Body: string(text)}.Code())
				} else {
					require.Error(t, err, "%q", text)
					if resp.ContentLength < 0 && version == "1.0" {
						require.True(t, errors.Is(err, syscall.ECONNRESET), err)
					}
					if strings.HasSuffix(tt.ends, "{") {
						require.True(t, strings.HasPrefix(string(text), tt.ends), "%q", text)
						require.True(t, strings.HasSuffix(string(text), "}\n\n"))
						require.Contains(t, string(text), `"code":"upstream_broken"`)
					} else {
						require.Equal(t, tt.ends, string(text))
					}
				}
				require.Equal(t, "reqnum_replayed", u.Post("/v1/completions", body).Code())
				require.Equal(t, before+1, m.Count())
			})
		}
	}
	u.WaitMetric("usher_in_flight", 0)
}

// The head that reaches the model server, byte for byte.
func TestRequestHeadIsTheClients(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewWireModel(t, func(c *net.TCPConn, _ string) bool {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		return true
	})
	tests := []struct{ name, target, fields, line, passed string }{
		{"nothing invented", "/generate", "", "/generate", ""},
		{"case, order and repetition", "/generate", "x-b: 1\r\nACCEPT: */*\r\nX-B:  2 \r\nCookie: q\r\n", "/generate", "x-b: 1\r\nACCEPT: */*\r\nX-B:  2 \r\nCookie: q\r\n"},
		{"hop-by-hop", "/generate", "Connection: X-A , keep-alive\r\nX-A: 1\r\nKeep-Alive: 1\r\nProxy-Connection: x\r\nTE: trailers\r\nTrailer: a\r\nUpgrade: h2c\r\nX-C: 1\r\n", "/generate", "X-C: 1\r\n"},
		{"two Connections", "/generate", "Connection: X-A\r\nX-A: 1\r\nConnection: x-c\r\nX-C: 1\r\n", "/generate", ""},
		{"credentials", "/generate?a=1", "AUTHORIZATION: Bearer a\r\nauthorization: b\r\nProxy-Authorization: c\r\n", "/generate?a=1", ""},
		{"trace context", "/generate", "traceparent: 00-a-b-01\r\ntracestate: a=1,b=2\r\n", "/generate", "traceparent: 00-a-b-01\r\ntracestate: a=1,b=2\r\n"},
		{"api_key first", "/generate?api_key=k&b=%20+", "", "/generate?b=%20+", ""},
		{"api_key in the middle", "/generate?a=&api_key=k&b", "", "/generate?a=&b", ""},
		{"api_key last", "/generate?a=%e9&api_key=k", "", "/generate?a=%e9", ""},
		{"api_key alone", "/generate?api_key", "", "/generate", ""},
		{"api_key repeated and encoded", "/generate?api_key=1&x=api_key&api%5fkey=2&%61%70i_key=3&api_key%", "", "/generate?x=api_key&api_key%", ""},
		{"absolute form", "http://elsewhere/generate?api_key=1&q", "", "/generate?q", ""},
		{"an empty query", "/generate?", "", "/generate", ""},
	}
	for _, prefix := range []string{"", "/pre/fix"} {
		u := rig.Start(t, wireSettings(m, s).With(rig.Env{"USHER_UPSTREAM_URL": m.URL() + prefix})).Ready()
		for _, tt := range tests {
			t.Run(tt.name+prefix, func(t *testing.T) {
				w := rig.Dial(t, u.Public)
				body := s.Ticket().Nested("{}")
				w.Send("POST " + tt.target + " HTTP/1.1\r\nHost: public\r\nX-Request-Id: id\r\n" + tt.fields + "Content-Length: " + rig.Itoa(len(body)) + "\r\n\r\n" + string(body))
				require.Contains(t, w.Response(), "200")
				require.Equal(t, "POST "+prefix+tt.line+" HTTP/1.1\r\nHost: "+m.Addr().String()+"\r\n"+tt.passed+"X-Request-Id: id\r\nContent-Length: 2\r\n", m.Last())
			})
		}
	}
}
