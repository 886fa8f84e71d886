package contract

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

	"github.com/usher-sidecar/usher/test/rig"
)

// A body is forwarded piece by piece as it arrives, and so is the answer: neither
// waits for the other to end.
func TestUploadIsPassedOnAsItComes(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	url := rig.RawModel(t, func(c net.Conn, in *bufio.Reader) {
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
	u := rig.Start(t, rig.Streaming(s, url)).Ready()
	for _, chunked := range []bool{false, true} {
		w := rig.Dial(t, u.Public)
		framing := "Content-Length: 15"
		if chunked {
			framing = "Transfer-Encoding: chunked"
		}
		w.Send(rig.UploadHead(s.Ticket(), framing))
		resp, err := http.ReadResponse(w.In, nil)
		require.NoError(t, err, "the answer must pass before any of the body is sent")
		require.Equal(t, 200, resp.StatusCode)
		require.Equal(t, map[bool]string{false: "15", true: "-1"}[chunked], resp.Header.Get("X-Length"))
		require.Equal(t, map[bool]string{false: "[]", true: "[chunked]"}[chunked], resp.Header.Get("X-Coding"))
		require.True(t, resp.Close, "the connection must close, as it is not known where the next request begins")
		got := make([]byte, 5)
		for _, piece := range []string{"first", "secon", "third"} {
			if chunked {
				w.Send("5\r\n" + piece + "\r\n")
			} else {
				w.Send(piece)
			}
			_, err := io.ReadFull(resp.Body, got)
			require.NoError(t, err)
			require.Equal(t, piece, string(got))
		}
		if chunked {
			w.Send("0\r\n\r\n")
		}
		rest, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "EOF", string(rest), "the model server must see the body end cleanly")
	}
	u.WaitMetric("usher_request_body_bytes_total", 30)
}

// A client that sends Expect: 100-continue gets it if its ticket is good; otherwise it
// is refused at once, with none of its body read.
func TestExpectContinueWithATicketInTheHead(t *testing.T) {
	t.Parallel()
	s, other := rig.NewSigner(t), rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_ROUTES": "/upload/*,/v1/completions", "USHER_COST_POLICY": "enforce"})).Ready()
	const expect = "Expect: 100-continue\r\nContent-Length: "
	for _, path := range []string{"/upload/x", "/v1/completions"} {
		body := `{"max_tokens":1}`
		w := rig.Dial(t, u.Public)
		w.Send(strings.Replace(rig.UploadHead(s.Ticket(), expect+rig.Itoa(len(body))), "/upload/x", path, 1))
		line, err := w.In.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "HTTP/1.1 100 Continue\r\n", line)
		_, _ = w.In.ReadString('\n')
		w.Send(body)
		require.Contains(t, w.Response(), "200 OK")
		w.Send(strings.Replace(rig.UploadHead(s.Ticket(), expect+"0"), "/upload/x", "/upload/kept", 1))
		require.Contains(t, w.Response(), "200 OK", "the connection must be kept after an upload")

		w = rig.Dial(t, u.Public)
		w.Send(strings.Replace(rig.UploadHead(other.Numbered(1_000_000), expect+"10000000"), "/upload/x", path, 1))
		require.Contains(t, w.Response(), "401 Unauthorized")
		w = rig.Dial(t, u.Public)
		w.Send(strings.Replace(rig.UploadHead(other.Numbered(1_000_000), "Content-Length: 10000000"), "/upload/x", path, 1))
		require.Contains(t, w.Response(), "401 Unauthorized", "Usher must refuse without waiting for the body")
	}
	require.Len(t, m.Arrivals(), 4)
}

// An upload takes no more memory than a piece of it, whatever its size and however
// slow its reader.
func TestUploadTakesNoMemory(t *testing.T) {
	if runtime.GOOS != "linux" || rig.RaceEnabled {
		t.Skip("reads /proc, of a process without the race detector's memory")
	}
	t.Parallel()
	const size = 192 << 20
	s := rig.NewSigner(t)
	resident := func(u *rig.Usher) int {
		text, err := os.ReadFile("/proc/" + rig.Itoa(u.Cmd.Process.Pid) + "/status")
		require.NoError(t, err)
		_, rest, _ := strings.Cut(string(text), "VmHWM:")
		kb, err := strconv.Atoi(strings.Fields(rest)[0])
		require.NoError(t, err)
		return kb
	}
	url := rig.RawModel(t, func(c net.Conn, in *bufio.Reader) {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n%09d", n)
	})
	u := rig.Start(t, rig.Streaming(s, url).With(rig.Env{"USHER_MAX_BODY_BYTES": "1GiB"})).Ready()
	before := resident(u)
	w := rig.Dial(t, u.Public)
	w.Send(rig.UploadHead(s.Ticket(), "Content-Length: "+rig.Itoa(size)))
	piece := strings.Repeat("x", 1<<20)
	for range size / len(piece) {
		w.Send(piece)
	}
	require.Equal(t, "200 OK\n"+rig.Itoa(size), w.Response())
	require.Less(t, resident(u)-before, 24<<10, "KiB")
	w.Send(rig.UploadHead(s.Ticket(), "Content-Length: 1") + "x")
	require.Equal(t, "200 OK\n000000001", w.Response(), "the connection must be kept after an upload")
}

// A client is told what it does wrong while its body arrives, and the model server
// never sees half a body end cleanly.
func TestUploadThatFails(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	began, ends := make(chan struct{}, 1), make(chan error, 1)
	url := rig.RawModel(t, func(_ net.Conn, in *bufio.Reader) {
		r, err := http.ReadRequest(in)
		began <- struct{}{}
		if err == nil {
			_, err = io.Copy(io.Discard, r.Body)
		}
		ends <- err
	})
	u := rig.Start(t, rig.Streaming(s, url).With(rig.Env{"USHER_MAX_BODY_BYTES": "100000", "USHER_READ_TIMEOUT": "2s"})).Ready()
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
		ticket := s.Ticket()
		w := rig.Dial(t, u.Public)
		w.Send(rig.UploadHead(ticket, tt.framing))
		<-began
		w.Send(tt.body)
		resp, err := http.ReadResponse(w.In, nil)
		require.NoError(t, err, name)
		require.Equal(t, tt.status, resp.Status[:3], name)
		require.Equal(t, "false", resp.Header.Get("X-Should-Retry"), "its ticket is spent: the model server got a part of it")
		require.Empty(t, resp.Header.Values("X-Usher-Refusal"), "the field would say that the ticket is good")
		require.True(t, resp.Close)
		told, err := io.ReadAll(resp.Body)
		require.NoError(t, err, name)
		require.Contains(t, string(told), "the ticket is spent", name)
		require.Contains(t, string(told), "with a new ticket", name)
		require.Error(t, <-ends, name)
		require.Equal(t, 409, u.Do("POST", "/upload/x", nil, inHead(ticket)).Status)
	}
	declared := s.Ticket()
	require.Equal(t, 413, u.Do("POST", "/upload/x", make([]byte, 100001), inHead(declared)).Status)
	u.Signal(os.Interrupt)
	require.Equal(t, 0, u.Wait(), "something is left in flight")
}

// If something goes wrong after the answer has begun, an event at the end of the stream says so.
func TestUploadThatFailsBesideAStream(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	url := rig.RawModel(t, func(c net.Conn, in *bufio.Reader) {
		if r, err := http.ReadRequest(in); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n")
			_, _ = io.Copy(io.Discard, r.Body)
		}
	})
	u := rig.Start(t, rig.Streaming(s, url)).Ready()
	w := rig.Dial(t, u.Public)
	w.Send(rig.UploadHead(s.Ticket(), "Transfer-Encoding: chunked") + "3\r\nabc\r\n")
	resp, err := http.ReadResponse(w.In, nil)
	require.NoError(t, err)
	w.Send("zz\r\n")
	got, err := io.ReadAll(resp.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Contains(t, string(got), "data: 1\n\ndata: {")
	require.Contains(t, string(got), `"error_type":"bad_request"`)
	require.Contains(t, string(got), "the ticket is spent")
}

// An answer that precedes the end of the body is forwarded at once, and replacing a
// dead kept connection loses none of the body.
func TestAnswerBeforeTheUpload(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_ROUTES": "/upload/*"})).Ready()
	for range 3 {
		require.Equal(t, 200, u.Do("POST", "/upload/x", []byte("abc"), inHead(s.Ticket())).Status)
		m.CloseClientConnections()
	}
	for i, arrived := range m.Arrivals() {
		require.Equal(t, "abc", arrived.Body, i)
	}
	m.Close()
	ticket := s.Ticket()
	got := u.Do("POST", "/upload/x", []byte("abc"), inHead(ticket))
	require.Equal(t, 502, got.Status)
	require.Equal(t, "upstream_unreachable", got.Code())
	require.Empty(t, got.Header.Get("X-Should-Retry"))
	require.Equal(t, "upstream_unreachable", u.Do("POST", "/upload/x", []byte("abc"), inHead(ticket)).Code(), "the ticket stays good")

	url := rig.RawModel(t, func(c net.Conn, in *bufio.Reader) {
		_, _ = http.ReadRequest(in)
		_, _ = io.WriteString(c, "HTTP/1.1 413 Large\r\nContent-Length: 4\r\n\r\nmine")
		_, _ = io.Copy(io.Discard, in)
	})
	u = rig.Start(t, rig.Streaming(s, url)).Ready()
	for _, sent := range []int{0, 1000, 8 << 20} {
		w := rig.Dial(t, u.Public)
		w.Send(rig.UploadHead(s.Ticket(), "Content-Length: "+rig.Itoa(9<<20)) + strings.Repeat("x", sent))
		began := time.Now()
		require.Equal(t, "413 Large\nmine", w.Response())
		require.Less(t, time.Since(began), rig.Patience/3)
	}
}

// The time-out for the model server's head does not run while the request is coming
// in, nor the client's while it waits for its turn.
func TestTimeoutsOfAnUpload(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/upload/silent" {
			<-r.Context().Done()
		}
	})
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_ROUTES": "/upload/*", "USHER_UPSTREAM_TIMEOUT": "1s"})).Ready()
	w := rig.Dial(t, u.Public)
	w.Send(rig.UploadHead(s.Ticket(), "Content-Length: 6"))
	for range 6 {
		time.Sleep(200 * time.Millisecond) // what is tested is time
		w.Send("x")
	}
	require.Contains(t, w.Response(), "200 OK")
	got := u.Do("POST", "/upload/silent", []byte("abc"), inHead(s.Ticket()))
	require.Equal(t, 504, got.Status)
	require.Equal(t, "upstream_timeout", got.Code())
}
