package test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// streaming are the settings of an usher that passes bodies on as they come.
func streaming(s *signer, url string) env {
	return env{
		"USHER_ENDPOINT": testEndpoint, "USHER_WORKER_URL": testURL, "USHER_PUBLIC_KEY": s.public(), "USHER_UPSTREAM_URL": url,
		"USHER_ROUTES": "/upload/*",
	}
}

// uploadHead is the head of a request whose ticket stands in it.
func uploadHead(t ticket, framing string) string {
	return "POST /upload/x HTTP/1.1\r\nHost: a\r\nAuthorization: SignedRoute " + t.token() + "\r\n" + framing + "\r\n\r\n"
}

// A body is passed on piece by piece, as it comes, and the answer as well: neither
// waits for the other's end.
func TestUploadIsPassedOnAsItComes(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	url := rawModel(t, func(c net.Conn, in *bufio.Reader) {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nX-Length: %d\r\nX-Coding: %v\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n", r.ContentLength, r.TransferEncoding)
		piece := make([]byte, 64)
		for {
			n, err := r.Body.Read(piece)
			if n > 0 {
				_, _ = fmt.Fprintf(c, "%x\r\n%s\r\n", n, piece[:n])
			}
			if err != nil {
				_, _ = io.WriteString(c, "3\r\n"+err.Error()[:3]+"\r\n0\r\n\r\n")
				return
			}
		}
	})
	u := start(t, streaming(s, url)).ready()
	for _, chunked := range []bool{false, true} {
		w := dial(t, u.public)
		framing := "Content-Length: 15"
		if chunked {
			framing = "Transfer-Encoding: chunked"
		}
		w.write(uploadHead(s.ticket(), framing))
		resp, err := http.ReadResponse(w.in, nil)
		require.NoError(t, err, "the answer has begun, and nothing of the body was sent")
		require.Equal(t, 200, resp.StatusCode)
		require.Equal(t, map[bool]string{false: "15", true: "-1"}[chunked], resp.Header.Get("X-Length"))
		require.Equal(t, map[bool]string{false: "[]", true: "[chunked]"}[chunked], resp.Header.Get("X-Coding"))
		require.True(t, resp.Close, "where the next request begins is not known yet")
		got := make([]byte, 5)
		for _, piece := range []string{"first", "secon", "third"} {
			if chunked {
				w.write("5\r\n" + piece + "\r\n")
			} else {
				w.write(piece)
			}
			_, err := io.ReadFull(resp.Body, got)
			require.NoError(t, err)
			require.Equal(t, piece, string(got))
		}
		if chunked {
			w.write("0\r\n\r\n")
		}
		rest, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "EOF", string(rest), "a clean end")
	}
	require.EqualValues(t, 30, u.metric("usher_request_body_bytes_total"))
}

// A client that asks whether to go on is told so when its ticket has passed, and
// refused at once, with nothing of its body read, when it has not.
func TestExpectationOfATicketInTheHead(t *testing.T) {
	t.Parallel()
	s, other := newSigner(t), newSigner(t)
	m := newModel(t, nil)
	u := start(t, settings(m, s).with(env{"USHER_ROUTES": "/upload/*,/v1/completions", "USHER_COST_POLICY": "enforce"})).ready()
	const expect = "Expect: 100-continue\r\nContent-Length: "
	for _, path := range []string{"/upload/x", "/v1/completions"} {
		body := `{"max_tokens":1}`
		w := dial(t, u.public)
		w.write(strings.Replace(uploadHead(s.ticket(), expect+itoa(len(body))), "/upload/x", path, 1))
		line, err := w.in.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "HTTP/1.1 100 Continue\r\n", line)
		_, _ = w.in.ReadString('\n')
		w.write(body)
		require.Contains(t, w.response(), "200 OK")
		w.write(strings.Replace(uploadHead(s.ticket(), expect+"0"), "/upload/x", "/upload/kept", 1))
		require.Contains(t, w.response(), "200 OK", "the connection is kept")

		w = dial(t, u.public)
		w.write(strings.Replace(uploadHead(other.numbered(1_000_000), expect+"10000000"), "/upload/x", path, 1))
		require.Contains(t, w.response(), "401 Unauthorized")
		w = dial(t, u.public)
		w.write(strings.Replace(uploadHead(other.numbered(1_000_000), "Content-Length: 10000000"), "/upload/x", path, 1))
		require.Contains(t, w.response(), "401 Unauthorized", "not a byte of the body was waited for")
	}
	require.Len(t, m.arrivals(), 4)
}

// An upload takes as much memory as a piece of it, whatever its size and however
// slow its reader.
func TestUploadTakesNoMemory(t *testing.T) {
	if runtime.GOOS != "linux" || raceEnabled {
		t.Skip("reads /proc, of a process without the race detector's memory")
	}
	t.Parallel()
	const size = 192 << 20
	s := newSigner(t)
	resident := func(u *usher) int {
		text, err := os.ReadFile("/proc/" + itoa(u.cmd.Process.Pid) + "/status")
		require.NoError(t, err)
		_, rest, _ := strings.Cut(string(text), "VmHWM:")
		kb, err := strconv.Atoi(strings.Fields(rest)[0])
		require.NoError(t, err)
		return kb
	}
	url := rawModel(t, func(c net.Conn, in *bufio.Reader) {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n%09d", n)
	})
	u := start(t, streaming(s, url).with(env{"USHER_MAX_BODY_BYTES": "1GiB"})).ready()
	before := resident(u)
	w := dial(t, u.public)
	w.write(uploadHead(s.ticket(), "Content-Length: "+itoa(size)))
	piece := strings.Repeat("x", 1<<20)
	for range size / len(piece) {
		w.write(piece)
	}
	require.Equal(t, "200 OK\n"+itoa(size), w.response())
	require.Less(t, resident(u)-before, 24<<10, "KiB")
	w.write(uploadHead(s.ticket(), "Content-Length: 1") + "x")
	require.Equal(t, "200 OK\n000000001", w.response(), "the connection is kept")
}

// What a client does wrong while its body comes is told, and the model server never
// gets a clean end of half a body.
func TestUploadThatFails(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	ends := make(chan error, 1)
	url := rawModel(t, func(_ net.Conn, in *bufio.Reader) {
		r, err := http.ReadRequest(in)
		if err == nil {
			_, err = io.Copy(io.Discard, r.Body)
		}
		ends <- err
	})
	u := start(t, streaming(s, url).with(env{"USHER_MAX_BODY_BYTES": "100000", "USHER_READ_TIMEOUT": "400ms"})).ready()
	for name, tt := range map[string]struct {
		framing, body string
		status        string
	}{
		"too large":   {"Transfer-Encoding: chunked", strings.Repeat("4000\r\n"+strings.Repeat("x", 1<<14)+"\r\n", 8), "413"},
		"malformed":   {"Transfer-Encoding: chunked", "5\r\nabcdeX", "400"},
		"no chunk":    {"Transfer-Encoding: chunked", "zz\r\n", "400"},
		"slow":        {"Content-Length: 10", "abc", "408"},
		"slow chunks": {"Transfer-Encoding: chunked", "5\r\nabcde\r\n", "408"},
	} {
		ticket := s.ticket()
		w := dial(t, u.public)
		w.write(uploadHead(ticket, tt.framing) + tt.body)
		resp, err := http.ReadResponse(w.in, nil)
		require.NoError(t, err, name)
		require.Equal(t, tt.status, resp.Status[:3], name)
		require.Equal(t, "false", resp.Header.Get("X-Should-Retry"), "its ticket is spent: the model server got a part of it")
		require.True(t, resp.Close)
		told, err := io.ReadAll(resp.Body)
		require.NoError(t, err, name)
		require.Contains(t, string(told), "the ticket is spent", name)
		require.Contains(t, string(told), "with a new ticket", name)
		require.Error(t, <-ends, name)
		require.Equal(t, 409, u.do("POST", "/upload/x", nil, ticket.inHead()).status)
	}
	declared := s.ticket()
	require.Equal(t, 413, u.do("POST", "/upload/x", make([]byte, 100001), declared.inHead()).status)
	u.signal(os.Interrupt)
	require.Equal(t, 0, u.wait(), "nothing is left in flight")
}

// So is what goes wrong after the answer has begun, in a stream's last event.
func TestUploadThatFailsBesideAStream(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	url := rawModel(t, func(c net.Conn, in *bufio.Reader) {
		if r, err := http.ReadRequest(in); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n")
			_, _ = io.Copy(io.Discard, r.Body)
		}
	})
	u := start(t, streaming(s, url)).ready()
	w := dial(t, u.public)
	w.write(uploadHead(s.ticket(), "Transfer-Encoding: chunked") + "3\r\nabc\r\n")
	resp, err := http.ReadResponse(w.in, nil)
	require.NoError(t, err)
	w.write("zz\r\n")
	got, err := io.ReadAll(resp.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Contains(t, string(got), "data: 1\n\ndata: {")
	require.Contains(t, string(got), `"error_type":"bad_request"`)
	require.Contains(t, string(got), "the ticket is spent")
}

// An answer that comes before the body is passed on at once; a dead kept connection
// is replaced with nothing of the body lost.
func TestAnswerBeforeTheUpload(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	m := newModel(t, nil)
	u := start(t, settings(m, s).with(env{"USHER_ROUTES": "/upload/*"})).ready()
	for range 3 {
		require.Equal(t, 200, u.do("POST", "/upload/x", []byte("abc"), s.ticket().inHead()).status)
		m.CloseClientConnections()
	}
	for i, arrived := range m.arrivals() {
		require.Equal(t, "abc", arrived.body, i)
	}
	m.Close()
	ticket := s.ticket()
	got := u.do("POST", "/upload/x", []byte("abc"), ticket.inHead())
	require.Equal(t, 502, got.status)
	require.Equal(t, "upstream_unreachable", got.code())
	require.Empty(t, got.header.Get("X-Should-Retry"))
	require.Equal(t, "upstream_unreachable", u.do("POST", "/upload/x", []byte("abc"), ticket.inHead()).code(), "the ticket stays good")

	url := rawModel(t, func(c net.Conn, in *bufio.Reader) {
		_, _ = http.ReadRequest(in)
		_, _ = io.WriteString(c, "HTTP/1.1 413 Large\r\nContent-Length: 4\r\n\r\nmine")
		_, _ = io.Copy(io.Discard, in)
	})
	u = start(t, streaming(s, url)).ready()
	for _, sent := range []int{0, 1000, 8 << 20} {
		w := dial(t, u.public)
		w.write(uploadHead(s.ticket(), "Content-Length: "+itoa(9<<20)) + strings.Repeat("x", sent))
		began := time.Now()
		require.Equal(t, "413 Large\nmine", w.response())
		require.Less(t, time.Since(began), patience/2)
	}
}

// The time-out of the model server's head does not run while its request comes in,
// nor the client's while it waits for its turn.
func TestTimeoutsOfAnUpload(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	m := newModel(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/upload/silent" {
			<-r.Context().Done()
		}
	})
	u := start(t, settings(m, s).with(env{"USHER_ROUTES": "/upload/*", "USHER_UPSTREAM_TIMEOUT": "250ms"})).ready()
	w := dial(t, u.public)
	w.write(uploadHead(s.ticket(), "Content-Length: 6"))
	for range 6 {
		time.Sleep(100 * time.Millisecond) // what is tested is time
		w.write("x")
	}
	require.Contains(t, w.response(), "200 OK")
	got := u.do("POST", "/upload/silent", []byte("abc"), s.ticket().inHead())
	require.Equal(t, 504, got.status)
	require.Equal(t, "upstream_timeout", got.code())
}
