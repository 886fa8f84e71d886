package front

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
	"pgregory.net/rapid"

	"github.com/usher-sidecar/usher/sidecar/hangup"
)

// A script is a connection that delivers a stream in pieces.
type script struct {
	net.Conn
	left  string
	piece func(left int) int
}

func (s *script) Read(p []byte) (int, error) {
	if s.left == "" {
		return 0, io.EOF
	}
	n := copy(p, s.left[:s.piece(len(s.left))])
	s.left = s.left[n:]
	return n, nil
}

// passed reads the requests of a stream, one after the other, as fasthttp and the handler
// do, and returns how many of its bytes were taken.
func passed(stream string, piece func(left int) int) int {
	s := &script{left: stream, piece: piece}
	c := (*wire)(newConn(nil, s, nil))
	head := make([]byte, MaxHead)
	for err := error(nil); err == nil; {
		if c.guard.inBody() {
			_, err = io.Copy(io.Discard, (*clientBody)(c))
		} else {
			_, err = c.Read(head)
		}
	}
	return len(stream) - len(s.left) - len(c.ahead.Bytes())
}

func whole(left int) int { return left }

// A head counts the same however it is cut into pieces: byte by byte, one that is not too
// large is served.
func TestAHeadInSmallPieces(t *testing.T) {
	type seen struct {
		method, path string
		fault        error
	}
	served := make(chan seen, 1)
	_, addr := startServer(t, Options{
		Serve: func(c *Conn, fault error) {
			served <- seen{string(c.Head.Method), string(c.Head.Path), fault}
			c.CloseAfter()
			_ = c.Answer(&Answer{Status: 204}, Own{})
		},
		HealthCheck: func(string) (Answer, bool) { return Answer{}, false },
	}, hangup.Options{})
	begin := "POST /generate HTTP/1.1\r\nHost: u\r\nContent-Length: 0\r\nAuthorization: " + strings.Repeat("x", 8000) + "\r\nX-Pad: "
	const end = "\r\n\r\n"
	for _, size := range []int{9 << 10, MaxHead - 500} {
		client, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		_ = client.SetDeadline(time.Now().Add(20 * time.Second))
		head := begin + strings.Repeat("x", size-len(begin)-len(end)) + end
		const slowly = 3000
		_, err = io.WriteString(client, head[:size-slowly])
		require.NoError(t, err)
		time.Sleep(20 * time.Millisecond)
		for i := size - slowly; i < size; i++ {
			_, err = io.WriteString(client, head[i:i+1])
			require.NoError(t, err)
		}
		require.Equal(t, seen{"POST", "/generate", nil}, <-served)
		require.NoError(t, client.Close())
	}
	g, pieces := guard{}, guard{}
	head := []byte(begin + strings.Repeat("x", MaxHead))
	g.pass(head)
	for i := range head {
		pieces.pass(head[i : i+1])
		require.Equal(t, i < MaxHead, pieces.state == inHead, "after %d bytes of %d", i+1, MaxHead)
	}
	require.Equal(t, g.state, pieces.state)
}

const chunkedHead = "POST /generate HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

func TestGuard(t *testing.T) {
	const plain = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
	tests := []struct{ name, good, bad string }{
		{"requests in a row", plain + plain + "GET / HTTP/1.1\r\n\r\n" + plain, ""},
		{"empty lines between", plain + "\r\n\n" + plain, ""},
		{"line ends in a body are the body's", "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n\n\n\n" + plain, ""},
		{"chunks", chunkedHead + "3\r\nabc\r\nA;x\r\n0123456789\r\n0\r\n\r\n" + plain, ""},
		{"a trailer", chunkedHead + "0\r\nX: y\r\nZ:\t\xff\r\n\r\n" + plain, ""},
		{"two framings are not the guard's", "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nzz\n", ""},
		{"bare LF after the request line", "GET / HTTP/1.1", "\nHost: a\r\n\r\n"},
		{"bare LF after a field", plain + "GET / HTTP/1.1\r\nHost: a", "\n\r\n"},
		{"bare LF as the empty line", "GET / HTTP/1.1\r\nHost: a\r\n", "\n"},
		{"no digit", chunkedHead, "g\r\n"},
		{"a blank after the size", chunkedHead + "3", " \r\nabc"},
		{"beyond 63 bits", chunkedHead + "800000000000000", "0\r\n"},
		{"too many zeros", chunkedHead + strings.Repeat("0", 16), "0\r\n"},
		{"bare LF after the size", chunkedHead + "3", "\nabc"},
		{"bare CR after the size", chunkedHead + "3\r", "abc"},
		{"too much data", chunkedHead + "3\r\nabc", "d\r\n"},
		{"a control byte in an extension", chunkedHead + "3;a", "\x00\r\n"},
		{"too long an extension", chunkedHead + "3;" + strings.Repeat("a", 4<<10-2), "a"},
		{"more framing than data", chunkedHead + strings.Repeat("1;"+strings.Repeat("a", 2000)+"\r\nx\r\n", 8) + "1;" + strings.Repeat("a", 2000) + "\r", "\nx"},
		{"a trailer without a name", chunkedHead + "0\r\n", ": a\r\n\r\n"},
		{"a trailer without a colon", chunkedHead + "0\r\nX", "\r\n\r\n"},
		{"a trailer that frames", chunkedHead + "0\r\nContent-Length", ": 3\r\n\r\n"},
		{"a trailer like one that frames", chunkedHead + "0\r\nTransfer-Encodings: 3\r\n\r\n" + plain, ""},
		{"a folded trailer", chunkedHead + "0\r\nX: a\r\n", " b\r\n\r\n"},
		{"bare LF in trailers", chunkedHead + "0\r\nX: a", "\n\r\n"},
		{"bare LF at the end", chunkedHead + "0\r\n", "\n"},
		{"too large trailers", chunkedHead + "0\r\nX:" + strings.Repeat("a", 8<<10-2), "a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				n := passed(tt.good+tt.bad, func(left int) int { return rapid.IntRange(1, left).Draw(t, "piece") })
				require.Equal(t, len(tt.good), n, "%q", (tt.good + tt.bad)[:n])
			})
		})
	}
}

// A body that the handler did not read is skipped, up to a limit, on the way to the next
// request.
func TestUnreadBody(t *testing.T) {
	const next = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	for size, want := range map[int]string{1: next, maxSkipped: next, maxSkipped + 1: ""} {
		first := fmt.Sprintf("OPTIONS / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", size)
		c := (*wire)(newConn(nil, &script{left: first + strings.Repeat("\n", size) + next, piece: whole}, nil))
		head := make([]byte, MaxHead)
		n, err := c.Read(head)
		require.NoError(t, err)
		require.Equal(t, first, string(head[:n]))
		n, err = c.Read(head)
		require.Equal(t, want, string(head[:n]))
		require.Equal(t, want == "", err == io.EOF, "%v", err)
	}
}

// FuzzGuard checks that guard and fasthttp agree: if both accept a chunked request, they
// read the same body, which ends at the same byte, and how much is taken does not depend
// on how the bytes arrive.
func FuzzGuard(f *testing.F) {
	f.Add("3\r\nabc\r\n0\r\n\r\n", 7)
	f.Add("3;x\r\nabc\r\n0\r\nX: y\r\n\r\nPOST", 1)
	f.Add("0\r\n\n", 3)
	f.Add("1 \r\na\r\n0\r\n\r\n", 100)
	f.Fuzz(func(t *testing.T, body string, cut int) {
		stream := chunkedHead + body
		cut = min(max(cut, 1), len(stream))
		require.Equal(t, passed(stream, whole), passed(stream, func(left int) int { return min(left, cut) }))

		s := &script{left: stream, piece: whole}
		c := (*wire)(newConn(nil, s, nil))
		_, err := c.Read(make([]byte, MaxHead))
		require.NoError(t, err)
		data, err := io.ReadAll((*clientBody)(c))
		if err != nil {
			return
		}
		in := bufio.NewReaderSize(strings.NewReader(stream), MaxHead)
		var req fasthttp.Request
		if req.Read(in) != nil {
			return // fasthttp refuses more names that must not be trailers
		}
		require.Equal(t, string(req.Body()), string(data))
		rest, err := io.ReadAll(in)
		require.NoError(t, err)
		require.Equal(t, string(rest), string(c.ahead.Bytes())+s.left)
	})
}
