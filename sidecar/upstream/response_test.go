package upstream

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/sidecar/http1"
)

// Valid responses, and what is made of them.
func TestResponse(t *testing.T) {
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	const anyHead = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
	tests := []struct {
		name   string
		sent   string // then the server waits for our close, or with "!" closes itself
		status string
		length int64
		body   string
		kept   bool
	}{
		{"of known length", hello, "200 OK", 5, "hello", true},
		{"of known length, twice the same", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\ncontent-length:2\r\n\r\nhi", "200 OK", 2, "hi", true},
		{"of known length, a list of the same", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2,2 ,\r\nContent-Length: 2\r\n\r\nhi", "200 OK", 2, "hi", true},
		{"blanks before colons", "HTTP/1.1 200 OK\r\nContent-Length \t: 2\r\nConnection : close\r\n\r\nhi", "200 OK", 2, "hi", false},
		{"empty", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "200 OK", 0, "", true},
		{"no content", "HTTP/1.1 204 No Content\r\n\r\n", "204 No Content", 0, "", true},
		{"no content, though chunks are announced", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", "204 No Content", 0, "", false},
		{"not modified, with the length of what is not sent", "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", "304 Not Modified", 0, "", true},
		{"an error", "HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno", "503 Busy", 2, "no", true},
		{"an odd status without a reason", "HTTP/1.1 799\r\nContent-Length: 0\r\n\r\n", "799 ", 0, "", true},
		{"an empty reason", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "200 ", 0, "", true},
		{"an odd reason", "HTTP/1.1 200 All is w\xc3\xa9ll: yes\r\nContent-Length: 0\r\n\r\n", "200 All is w\xc3\xa9ll: yes", 0, "", true},
		{"bare line feeds in the head", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", "200 OK", 2, "hi", true},
		{"it says close", anyHead + "Connection: close\r\n\r\nhi", "200 OK", 2, "hi", false},
		{"it says close among others", anyHead + "Connection: x, CLOSE ,y\r\n\r\nhi", "200 OK", 2, "hi", false},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi", "200 OK", 2, "hi", false},
		{"HTTP/1.0 to the end", "HTTP/1.0 200 OK\r\n\r\nhi there!", "200 OK", -1, "hi there", false},
		{"to the end", "HTTP/1.1 200 OK\r\n\r\nhi!", "200 OK", -1, "hi", false},
		{"nothing to the end", "HTTP/1.1 200 OK\r\n\r\n!", "200 OK", -1, "", false},
		{"more than announced", anyHead + "\r\nhi there", "200 OK", 2, "hi", false},
		{"chunks", chunked + "2\r\nhi\r\n0000A;x=\"y\"\r\n0123456789\r\n0\r\n\r\n", "200 OK", -1, "hi0123456789", true},
		{"chunks, upper case coding and blanks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: \t Chunked \r\n\r\n2 \t\r\nhi\r\n0\r\n\r\n", "200 OK", -1, "hi", true},
		{"chunks of HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "200 OK", -1, "hi", false},
		{"no chunks", chunked + "0\r\n\r\n", "200 OK", -1, "", true},
		{"trailers are dropped", chunked + "2\r\nhi\r\n0\r\nX: 1\r\nContent-Length: 9\r\n\r\n", "200 OK", -1, "hi", true},
		{"more than chunks", chunked + "2\r\nhi\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n", "200 OK", -1, "hi", false},
		{"interim responses", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + hello, "200 OK", 5, "hello", true},
		{"a large head", anyHead + "X: " + strings.Repeat("x", 60<<10) + "\r\n\r\nhi", "200 OK", 2, "hi", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text, ends := strings.CutSuffix(tt.sent, "!")
			m := listen(t, "tcp", func(p *peer) {
				_, _, _ = p.request()
				p.send(text)
				if !ends {
					_ = p.gone()
				}
			})
			c := connect(t, m, nil)
			resp, err := acquire(t, c).RoundTrip(&Request{Path: []byte("/")})
			require.NoError(t, err)
			require.Equal(t, tt.status, string(resp.Status()))
			require.Equal(t, tt.status[:3], fmt.Sprint(resp.StatusCode()))
			require.Equal(t, tt.length, resp.ContentLength())
			require.Equal(t, tt.status[:3] == "204" || tt.status[:3] == "304", resp.Bodiless())
			body, err := readAll(resp)
			require.NoError(t, err)
			require.Equal(t, tt.body, body)
			resp.Close()
			resp.Close()
			if tt.kept {
				require.Equal(t, 1, c.Stats().Idle)
			} else {
				require.Zero(t, c.Stats().Idle)
			}
		})
	}
}

// Faults of a model server, in each phase. "!" closes, "!!" resets, and otherwise the
// server just stays silent.
func TestBrokenResponse(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	const chunked = ok + "Transfer-Encoding: chunked\r\n\r\n"
	head, body := true, false
	tests := []struct {
		name  string
		sent  string
		phase bool // in which it shows
		want  error
		got   string // of the body
	}{
		{"closes before the head", "!", head, ErrBroken, ""},
		{"resets before the head", "!!", head, ErrBroken, ""},
		{"says nothing", "", head, ErrTimeout, ""},
		{"closes within the head", ok + "X: 1!", head, ErrBroken, ""},
		{"resets within the head", ok + "X: 1!!", head, ErrBroken, ""},
		{"stops within the head", ok + "X: 1\r\n", head, ErrTimeout, ""},
		{"speaks something else", "SSH-2.0-OpenSSH_9.6\r\n", head, ErrBroken, ""},
		{"speaks HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", head, ErrBroken, ""},
		{"speaks HTTP/1.x", "HTTP/1.x 200 OK\r\n\r\n", head, ErrBroken, ""},
		{"status of two digits", "HTTP/1.1 20 OK\r\n\r\n", head, ErrBroken, ""},
		{"status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", head, ErrBroken, ""},
		{"status below 100", "HTTP/1.1 099 OK\r\n\r\n", head, ErrBroken, ""},
		{"status with a sign", "HTTP/1.1 +20 OK\r\n\r\n", head, ErrBroken, ""},
		{"no blank before the status", "HTTP/1.1\t200 OK\r\n\r\n", head, ErrBroken, ""},
		{"bare CR in the reason", "HTTP/1.1 200 OK\rX: 1\r\n\r\n", head, ErrBroken, ""},
		{"begins with an empty line", "\r\n" + hello, head, ErrBroken, ""},
		{"switches protocols", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", head, ErrBroken, ""},
		{"only interim responses", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", maxInformational+1), head, ErrBroken, ""},
		{"folded line", ok + "X: 1\r\n 2\r\n\r\n", head, ErrBroken, ""},
		{"blank before the name", ok + " Content-Length: 2\r\n\r\nhi", head, ErrBroken, ""},
		{"blank and no name", ok + " : 2\r\nContent-Length: 2\r\n\r\nhi", head, ErrBroken, ""},
		{"blank within the name", ok + "Content -Length : 2\r\n\r\nhi", head, ErrBroken, ""},
		{"blank before the colon, two lengths", ok + "Content-Length : 2\r\nContent-Length: 3\r\n\r\nhi", head, ErrBroken, ""},
		{"nameless field", ok + ": 2\r\n\r\nhi", head, ErrBroken, ""},
		{"no colon", ok + "Content-Length\r\n\r\nhi", head, ErrBroken, ""},
		{"bare CR in a field", ok + "X: 1\rContent-Length: 2\r\n\r\nhi", head, ErrBroken, ""},
		{"NUL in a field", ok + "X: \x00\r\n\r\nhi", head, ErrBroken, ""},
		{"two lengths", ok + "Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi", head, ErrBroken, ""},
		{"list of two lengths", ok + "Content-Length: 2, 3\r\n\r\nhi", head, ErrBroken, ""},
		{"list of a length and a word", ok + "Content-Length: 2, x\r\n\r\nhi", head, ErrBroken, ""},
		{"list of nothing", ok + "Content-Length: ,\r\n\r\nhi", head, ErrBroken, ""},
		{"lengths with a blank between", ok + "Content-Length: 2 2\r\n\r\nhi", head, ErrBroken, ""},
		{"length with a sign", ok + "Content-Length: +2\r\n\r\nhi", head, ErrBroken, ""},
		{"negative length", ok + "Content-Length: -2\r\n\r\nhi", head, ErrBroken, ""},
		{"empty length", ok + "Content-Length:\r\n\r\nhi", head, ErrBroken, ""},
		{"hexadecimal length", ok + "Content-Length: 0x2\r\n\r\nhi", head, ErrBroken, ""},
		{"length beyond 63 bits", ok + "Content-Length: 9223372036854775808\r\n\r\nhi", head, ErrBroken, ""},
		{"length and chunks", ok + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nhi", head, ErrBroken, ""},
		{"chunked twice", ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", head, ErrBroken, ""},
		{"another coding", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n", head, ErrBroken, ""},
		{"identity", ok + "Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi", head, ErrBroken, ""},
		{"too large a head", ok + "X: " + strings.Repeat("x", 70<<10) + "\r\n\r\n", head, ErrBroken, ""},
		{"too many fields", ok + strings.Repeat("X: y\r\n", 12<<10) + "\r\n", head, ErrBroken, ""},

		{"closes before the length", ok + "Content-Length: 9\r\n\r\nhi!", body, ErrBroken, "hi"},
		{"resets before the length", ok + "Content-Length: 9\r\n\r\nhi!!", body, ErrBroken, "hi"},
		{"stops before the length", ok + "Content-Length: 9\r\n\r\nhi", body, ErrTimeout, "hi"},
		{"closes before the first chunk", chunked + "!", body, ErrBroken, ""},
		{"closes within a size", chunked + "5!", body, ErrBroken, ""},
		{"closes within a chunk", chunked + "5\r\nhi!", body, ErrBroken, "hi"},
		{"resets within a chunk", chunked + "5\r\nhi!!", body, ErrBroken, "hi"},
		{"stops within a chunk", chunked + "5\r\nhi", body, ErrTimeout, "hi"},
		{"closes between chunks", chunked + "2\r\nhi\r\n!", body, ErrBroken, "hi"},
		{"stops between chunks", chunked + "2\r\nhi\r\n", body, ErrTimeout, "hi"},
		{"closes within the end", chunked + "2\r\nhi\r\n0\r\n!", body, ErrBroken, "hi"},
		{"closes within a trailer", chunked + "2\r\nhi\r\n0\r\nX: 1\r\n!", body, ErrBroken, "hi"},
		{"no size", chunked + "\r\nhi", body, ErrBroken, ""},
		{"size that is none", chunked + "2\r\nhi\r\nxyz\r\n", body, ErrBroken, "hi"},
		{"size with 0x", chunked + "0x2\r\nhi\r\n", body, ErrBroken, ""},
		{"negative size", chunked + "-2\r\nhi\r\n", body, ErrBroken, ""},
		{"blank before the size", chunked + " 2\r\nhi\r\n", body, ErrBroken, ""},
		{"two sizes", chunked + "2 2\r\nhi\r\n", body, ErrBroken, ""},
		{"size beyond 63 bits", chunked + "8000000000000000\r\nhi", body, ErrBroken, ""},
		{"size of many digits", chunked + "00000000000000002\r\nhi", body, ErrBroken, ""},
		{"size ended by a bare LF", chunked + "2\nhi\r\n", body, ErrBroken, ""},
		{"extension ended by a bare LF", chunked + "2;x\nhi\r\n", body, ErrBroken, ""},
		{"bare CR after the size", chunked + "2\rhi\r\n", body, ErrBroken, ""},
		{"chunk longer than its size", chunked + "2\r\nhip\r\n", body, ErrBroken, "hi"},
		{"chunk ended by a bare LF", chunked + "2\r\nhi\n0\r\n\r\n", body, ErrBroken, "hi"},
		{"bare CR after a chunk", chunked + "2\r\nhi\r0\r\n\r\n", body, ErrBroken, "hi"},
		{"endless extension", chunked + "2;" + strings.Repeat("x", 5<<10), body, ErrBroken, ""},
		{"hardly any data", chunked + strings.Repeat("1;"+strings.Repeat("x", 100)+"\r\na\r\n", 1000), body, ErrBroken, "*"},
		{"endless trailers", chunked + "0\r\n" + strings.Repeat("X: y\r\n", 16<<10), body, ErrBroken, ""},
		{"bare LF in a trailer", chunked + "0\r\nX: 1\n\r\n\r\n", body, ErrBroken, ""},
		{"bare CR in a trailer", chunked + "0\r\nX: 1\rY\r\n\r\n", body, ErrBroken, ""},
		{"bare CR as the end", chunked + "0\r\n\rX", body, ErrBroken, ""},
		{"resets where the end is the framing", ok + "\r\nhi!!", body, ErrBroken, "hi"},
		{"stops where the end is the framing", ok + "\r\nhi", body, ErrTimeout, "hi"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text, resets := strings.CutSuffix(tt.sent, "!!")
			text, closes := strings.CutSuffix(text, "!")
			seen := make(chan struct{}) // the client has read everything
			gone := make(chan error, 1)
			m := listen(t, "tcp", func(p *peer) {
				_, _, _ = p.request()
				p.send(text)
				if resets {
					<-seen // a reset discards unread bytes
					p.reset()
				} else if !closes {
					gone <- p.gone()
				}
			})
			c := connect(t, m, func(o *Options) {
				if tt.want == ErrTimeout {
					o.ResponseTimeout, o.IdleTimeout = patience, 20e6
					if tt.phase == head {
						o.ResponseTimeout, o.IdleTimeout = 20e6, patience
					}
				}
			})
			cn := acquire(t, c)
			if resets && tt.phase == head {
				close(seen)
			}
			resp, err := cn.RoundTrip(&Request{Path: []byte("/")})
			if tt.phase == head {
				require.ErrorIs(t, err, tt.want)
			} else {
				require.NoError(t, err)
				if resets {
					require.NoError(t, resp.Wait())
					close(seen)
				}
				got, err := readAll(resp)
				require.ErrorIs(t, err, tt.want)
				require.NotEmpty(t, Detail(err))
				if tt.got != "*" {
					require.Equal(t, tt.got, got)
				}
				resp.Close()
			}
			cn.Release()
			require.Zero(t, c.Stats().Idle)
			if !resets && !closes {
				requireReset(t, <-gone)
			}
			require.EqualValues(t, 1, m.served.Load(), "sent once")
		})
	}
}

func TestResponseHeader(t *testing.T) {
	lines := []string{
		"Date: Tue, 24 Nov 2026 00:00:00 GMT",
		"server: uvicorn",
		"Set-Cookie: a=1; Path=/; HttpOnly; Odd",
		"set-cookie: a=1; Path=/; HttpOnly; Odd",
		"SET-COOKIE: =; ;;",
		"X-Repeated: 1",
		"x-repeated:2",
		"X-Empty:",
		"X-Blanks: \t two  blanks ",
		"Content-Encoding: br",
		"content-type: text/event-stream",
		"X-!#$%&'*+.^_`|~: x",
		"Proxy-Status: x",
		"X-Obs: \xe9",
	}
	dropped := []string{
		"Connection: X-Named, close",
		"X-Named: 1",
		"connection: x-also",
		"X-Also: 1",
		"Keep-Alive: timeout=5",
		"Proxy-Authenticate: Basic",
		"Proxy-Connection: close",
		"TE: x",
		"Trailer: X",
		"Upgrade: h2c",
		"Content-Length: 0",
		"X-Skipped: 1",
	}
	text := "HTTP/1.1 200 OK\r\n"
	for i := range lines {
		text += lines[i] + "\r\n"
		if i < len(dropped) {
			text += dropped[i] + "\r\n"
		}
	}
	m := listen(t, "tcp", answering(text+"\r\n"))
	c := connect(t, m, nil)
	resp, err := acquire(t, c).RoundTrip(&Request{Path: []byte("/")})
	require.NoError(t, err)
	defer resp.Close()
	got := string(resp.AppendHeader([]byte("before\r\n"), func(name []byte) bool { return http1.EqualFold(name, "x-skipped") }))
	require.Equal(t, "before\r\n"+strings.Join(lines, "\r\n")+"\r\n", got)
	require.Equal(t, "text/event-stream", string(resp.Peek("content-type")))
	require.Equal(t, "two  blanks", string(resp.Peek("x-blanks")))
	require.Empty(t, resp.Peek("x-empty"))
	require.Nil(t, resp.Peek("x-none"))
	require.Contains(t, string(resp.AppendHeader(nil, nil)), "X-Skipped: 1\r\n")
}

// A closed response keeps nothing of the head.
func TestClosedResponse(t *testing.T) {
	m := listen(t, "tcp", answering(hello))
	c := connect(t, m, nil)
	resp, err := acquire(t, c).RoundTrip(&Request{Path: []byte("/")})
	require.NoError(t, err)
	resp.Close()
	require.Empty(t, resp.AppendHeader(nil, nil))
	require.Nil(t, resp.Peek("content-length"))
	require.Empty(t, resp.Status())
	_, err = resp.Read(make([]byte, 1))
	require.ErrorIs(t, err, errClosed)
	require.ErrorIs(t, resp.Wait(), errClosed)
	require.True(t, resp.Ready())
}
