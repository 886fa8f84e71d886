package upstream

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// large is more than the socket buffers of both sides hold.
const large = 32 << 20

func TestRoundTrip(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		for _, size := range []int{0, 1, 1 << 10, 1 << 20, large} {
			t.Run(network, func(t *testing.T) {
				body := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
				heads := make(chan string, 2)
				m := listen(t, network, func(p *peer) {
					for {
						head, got, err := p.request()
						if err != nil {
							return
						}
						heads <- head
						if bytes.Equal(got, body) {
							p.send(hello)
						}
					}
				})
				c := connect(t, m, func(o *Options) { o.PathPrefix, o.Authorization = "/p", "Bearer x" })
				for range 2 {
					cn := acquire(t, c)
					resp, err := cn.RoundTrip(&Request{Header: headerOf(t, "A: 1\r\nB: 2\r\n"), Path: []byte("/g"), Query: []byte("api_key=1&q"), RequestID: "r", Body: body})
					require.NoError(t, err)
					got, err := readAll(resp)
					require.NoError(t, err)
					require.Equal(t, "hello", got)
					head := <-heads
					require.True(t, strings.HasPrefix(head, "POST /p/g?q HTTP/1.1\r\nHost: model\r\nA: 1\r\nB: 2\r\nAuthorization: Bearer x\r\nX-Request-Id: r\r\nContent-Length: "), head)
					_, err = cn.RoundTrip(&Request{Path: []byte("/")})
					require.ErrorContains(t, err, "second")
					resp.Close()
				}
				want := Stats{Dials: 1, Reused: 1, Idle: 1}
				require.Equal(t, want, c.Stats())
			})
		}
	}
}

// The body is released as soon as the server has taken it, however long its answer takes,
// and not while any of it may still be written.
func TestBodyIsLetGoWhenItIsSent(t *testing.T) {
	for _, size := range []int{0, 1 << 10, large} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			read, answer := make(chan struct{}), make(chan struct{})
			m := listen(t, "tcp", func(p *peer) {
				_, _ = p.br.Peek(1)
				<-read
				if _, _, err := p.request(); err == nil {
					<-answer
					p.send(hello)
				}
				_ = p.gone()
			})
			s := &told{sent: make(chan struct{}, 1), let: make(chan struct{}, 1)}
			cn := acquire(t, connect(t, m, nil))
			done := make(chan error, 1)
			go func() {
				resp, err := cn.RoundTrip(&Request{Path: []byte("/"), Body: make([]byte, size), Sender: s})
				if err == nil {
					_, err = readAll(resp)
					resp.Close()
				}
				done <- err
			}()
			<-s.sent
			if size == large {
				require.Empty(t, s.let, "the server has not taken it yet")
			}
			close(read)
			<-s.let
			require.Empty(t, done)
			close(answer)
			require.NoError(t, <-done)
			require.Empty(t, s.let, "BodySent was called twice")
		})
	}
}

// A told records the calls of a Sender.
type told struct{ sent, let chan struct{} }

func (t *told) RequestSent() { t.sent <- struct{}{} }
func (t *told) BodySent()    { t.let <- struct{}{} }

// The answer of a server that has not read the body is received.
func TestEarlyAnswer(t *testing.T) {
	const refusal = "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig"
	tests := []struct {
		name   string
		script func(p *peer)
		body   string
	}{
		{"and closes", func(p *peer) { p.send(refusal) }, "big"},
		{"and reads no further", func(p *peer) { p.send(refusal); <-p.ended() }, "big"},
		{"and more than the buffers hold, reading no further", func(p *peer) {
			p.send("HTTP/1.1 500 Oh\r\n\r\n" + strings.Repeat("x", large))
			<-p.ended()
		}, strings.Repeat("x", large)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := listen(t, "tcp", func(p *peer) {
				_, err := p.br.Peek(1)
				if err == nil {
					tt.script(p)
				}
			})
			c := connect(t, m, nil)
			resp, err := acquire(t, c).RoundTrip(&Request{Path: []byte("/"), Body: make([]byte, large)})
			require.NoError(t, err)
			var got []byte
			for p := make([]byte, 1<<16); len(got) < len(tt.body); {
				n, err := resp.Read(p)
				got = append(got, p[:n]...)
				if err != nil {
					break
				}
			}
			require.Equal(t, len(tt.body), len(got))
			resp.Close()
			require.Zero(t, c.Stats().Idle, "half a request was sent on it")
		})
	}
}

// A server that reads on after an early answer that is not an error gets the whole
// request.
func TestEarlyAnswerThatGoesOn(t *testing.T) {
	got := make(chan int64, 1)
	m := listen(t, "tcp", func(p *peer) {
		_, _ = p.br.Peek(1)
		p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		_, body, _ := p.request()
		got <- int64(len(body))
		p.send("2\r\nhi\r\n0\r\n\r\n")
		_ = p.gone()
	})
	c := connect(t, m, nil)
	_, body, err := post(t, c, make([]byte, large))
	require.NoError(t, err)
	require.Equal(t, "hi", body)
	require.EqualValues(t, large, <-got)
}

// The answer of a server that then neither reads nor closes is received at once, whatever
// its status, and the connection is not used again.
func TestEarlyAnswerOfAServerThatStandsStill(t *testing.T) {
	for status, framing := range map[string]string{
		"200 OK": "Content-Length: 2\r\n\r\nhi", "201 Made": "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
		"204 Nothing": "\r\n", "307 There": "Location: /x\r\nContent-Length: 0\r\n\r\n", "503 Busy": "Content-Length: 2\r\n\r\nhi",
	} {
		t.Run(status, func(t *testing.T) {
			t.Parallel()
			m := listen(t, "tcp", func(p *peer) {
				if _, err := p.br.Peek(1); err == nil {
					p.send("HTTP/1.1 " + status + "\r\n" + framing)
					<-p.ended()
				}
			})
			c := connect(t, m, nil)
			began := time.Now()
			resp, _, err := post(t, c, make([]byte, large))
			require.NoError(t, err)
			require.Equal(t, status, string(resp.Status()))
			require.True(t, resp.Sending())
			resp.Close()
			require.Less(t, time.Since(began), 30*time.Second, "not the response time-out")
			require.Zero(t, c.Stats().Idle)
		})
	}
}

// A server that writes more than the buffers hold before it reads gets the whole request,
// and its whole answer is read. So is that of a server that reads only after it has
// written its answer. The connection is kept.
func TestAnswerBeforeTheRequestIsRead(t *testing.T) {
	for name, size := range map[string]int{"large": large, "small": 2} {
		t.Run(name, func(t *testing.T) {
			got := make(chan int, 1)
			m := listen(t, "tcp", func(p *peer) {
				if _, err := p.br.Peek(1); err != nil {
					return
				}
				p.send("HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(size) + "\r\n\r\n" + strings.Repeat("x", size))
				_, body, _ := p.request()
				got <- len(body)
				_ = p.gone()
			})
			c := connect(t, m, nil)
			c.restPatience = patience
			resp, body, err := post(t, c, make([]byte, large))
			require.NoError(t, err)
			require.Len(t, body, size)
			resp.Close()
			require.Equal(t, large, <-got)
			require.Equal(t, 1, c.Stats().Idle)
		})
	}
}

// If a use is cancelled while the rest of its request is being written, it ends at once,
// and so does the writing.
func TestCancelWhileTheRestIsWritten(t *testing.T) {
	m := listen(t, "tcp", func(p *peer) {
		if _, err := p.br.Peek(1); err == nil {
			p.send("HTTP/1.1 200 OK\r\n\r\nx")
			<-p.ended()
		}
	})
	c := connect(t, m, nil)
	cn := acquire(t, c)
	resp, err := cn.RoundTrip(&Request{Path: []byte("/"), Body: make([]byte, large)})
	require.NoError(t, err)
	require.True(t, resp.Sending())
	go cn.Cancel()
	_, err = io.ReadAll(resp)
	require.ErrorIs(t, err, ErrCanceled)
	resp.Close()
	select {
	case <-cn.rest:
		require.Fail(t, "the use ended before the writing did")
	default:
	}
}

// A server that takes nothing and says nothing is given up in time.
func TestStalledServer(t *testing.T) {
	for _, size := range []int{1 << 10, large} {
		m := listen(t, "tcp", func(p *peer) { <-p.ended() })
		c := connect(t, m, func(o *Options) { o.ResponseTimeout = 30 * time.Millisecond })
		_, _, err := post(t, c, make([]byte, size))
		require.ErrorIs(t, err, ErrTimeout)
	}
}

// Pieces arrive as they are sent: none waits for the next.
func TestStreaming(t *testing.T) {
	for _, framing := range []string{"chunked", "length", "close"} {
		t.Run(framing, func(t *testing.T) {
			next := make(chan string)
			m := listen(t, "tcp", func(p *peer) {
				_, _, _ = p.request()
				switch framing {
				case "chunked":
					p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
				case "length":
					p.send("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n")
				default:
					p.send("HTTP/1.1 200 OK\r\n\r\n")
				}
				for text := range next {
					if framing == "chunked" {
						p.send("3\r\n" + text + "\r\n")
					} else {
						p.send(text)
					}
				}
				if framing == "chunked" {
					p.send("0\r\n\r\n")
				}
			})
			c := connect(t, m, nil)
			resp, err := acquire(t, c).RoundTrip(&Request{Path: []byte("/")})
			require.NoError(t, err)
			p := make([]byte, 100)
			for i := range 10 {
				if framing != "chunked" || i == 0 {
					require.False(t, resp.Ready())
				}
				next <- "abc"
				if i%2 == 0 {
					require.NoError(t, resp.Wait())
					require.True(t, resp.Ready())
				}
				n, err := resp.Read(p)
				require.Equal(t, "abc", string(p[:n]))
				if err != nil {
					require.Equal(t, io.EOF, err)
					require.Equal(t, 9, i)
				}
			}
			close(next)
			_, err = resp.Read(p)
			require.Equal(t, io.EOF, err)
			resp.Close()
		})
	}
}

// Pieces that have arrived come in one Read, together with the end.
func TestPiecesThatAreHere(t *testing.T) {
	m := listen(t, "tcp", answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n"))
	c := connect(t, m, nil)
	for _, size := range []int{100, 6, 4, 1} {
		resp, err := acquire(t, c).RoundTrip(&Request{Path: []byte("/")})
		require.NoError(t, err)
		p := make([]byte, size)
		n, err := resp.Read(p)
		require.Equal(t, "abcdef"[:min(size, 6)], string(p[:n]))
		if size >= 6 {
			require.Equal(t, io.EOF, err)
		} else {
			require.NoError(t, err)
		}
		n, err = resp.Read(nil)
		require.Zero(t, n)
		require.NoError(t, err)
		resp.Close()
	}
}
