package life

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// From the first moment of a drain every answer says that it is the last on its
// connection, and it is.
func TestDrainEndsConnectionsWithTheirAnswers(t *testing.T) {
	t.Parallel()
	s, script := rig.NewSigner(t), rig.NewSteps()
	m := rig.NewModel(t, nil)
	begin := make(chan struct{})
	m.Respond = func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/generate_stream":
			script.Serve(w, r)
			return
		case "/v1/completions":
			select {
			case <-begin:
			case <-t.Context().Done():
			}
		}
		_, _ = io.WriteString(w, `{"generated_text":"ok"}`)
	}
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_DRAIN_DELAY": "1h", "USHER_CORS_ORIGINS": "*"})).Ready()
	waiting := rig.Dial(t, u.Public) // its answer begins in the drain
	requests := map[string]func(w *rig.Wire){
		"GET /health":   func(w *rig.Wire) { w.Request("GET", "/health", nil) },
		"HEAD /health":  func(w *rig.Wire) { w.Request("HEAD", "/health", nil) },
		"GET /ping":     func(w *rig.Wire) { w.Request("GET", "/ping", nil) },
		"preflight":     func(w *rig.Wire) { w.Request("OPTIONS", "/generate", nil) },
		"no such route": func(w *rig.Wire) { w.Request("POST", "/nowhere", []byte("{}")) },
		"wrong method":  func(w *rig.Wire) { w.Request("GET", "/generate", nil) },
		"no ticket":     func(w *rig.Wire) { w.Request("POST", "/generate", []byte("{}")) },
		"no HTTP":       func(w *rig.Wire) { w.Send("GET /ping HTTP/1.1\r\nHost: a\r\nContent-Length: a\r\n\r\n") },
		"relayed":       func(w *rig.Wire) { w.Request("POST", "/generate", s.Ticket().Flat("")) },
		"HTTP/1.0": func(w *rig.Wire) {
			body := s.Ticket().Flat("")
			w.Send("POST /generate HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: " + rig.Itoa(len(body)) + "\r\n\r\n" + string(body))
		},
		"stream": func(w *rig.Wire) {
			w.Request("POST", "/generate_stream", s.Ticket().Flat(""))
			close(script.Events)
		},
	}
	kept := map[string]*rig.Wire{}
	for name := range requests {
		kept[name] = rig.Dial(t, u.Public)
		kept[name].Request("GET", "/ping", nil)
		require.Equal(t, "200 OK\npong", kept[name].Response())
	}
	waiting.Request("POST", "/v1/completions", s.Ticket().Flat(""))
	require.Eventually(t, func() bool { return len(m.Arrivals()) == 1 }, rig.Patience, time.Millisecond)
	u.Signal(syscall.SIGTERM)
	u.WaitLine(`"msg":"draining"`)
	for name, send := range requests {
		send(kept[name])
		method, _, _ := strings.Cut(name, " ")
		resp, err := http.ReadResponse(kept[name].In, &http.Request{Method: method})
		require.NoError(t, err, name)
		_, err = io.ReadAll(resp.Body)
		require.NoError(t, err, name)
		require.True(t, resp.Close, name)
		require.True(t, kept[name].Closed(), name)
	}
	close(begin)
	resp, err := http.ReadResponse(waiting.In, nil)
	require.NoError(t, err)
	_, err = io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.True(t, resp.Close, "the answer to a request that was sent before the drain must close the connection")
	u.Signal(syscall.SIGTERM)
	require.Equal(t, 0, u.Wait())
}

// A client that keeps its connection for as long as it is told to, and sends each
// request 10 ms after the last answer without checking the connection, loses nothing
// when the worker is replaced: every request is answered, or was never sent because
// nobody listens.
func TestRolloutsLoseNothing(t *testing.T) {
	t.Parallel()
	for i := range 5 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			s := rig.NewSigner(t)
			u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{"USHER_DRAIN_DELAY": "2s"})).Ready()
			var served int
			ended := make(chan error, 1)
			began := make(chan struct{})
			go func() { ended <- patient(u.Public, s, began, &served) }()
			select {
			case <-began:
			case err := <-ended:
				require.NoError(t, err, "before the rollout")
			}
			u.Signal(syscall.SIGTERM)
			require.NoError(t, <-ended, "after %d answers", served)
			require.Greater(t, served, 5, "requests must be served during the delay, on a busy machine too")
			require.Equal(t, 0, u.Wait())
		})
	}
}

// patient sends requests until nobody listens, and closes began after the fifth
// answer. It returns an error if a request was sent and lost.
func patient(address string, s *rig.Signer, began chan<- struct{}, served *int) error {
	var w *rig.Wire
	for {
		body := s.Ticket().Flat("") // signed before it connects: a silent connection is not kept for long
		fresh := w == nil
		if fresh {
			c, err := net.Dial("tcp", address)
			if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) && rig.Refused(address) {
				return nil // a reset: the kernel took the connection while the listener closed
			}
			if err != nil {
				return err
			}
			w = &rig.Wire{Conn: c, In: bufio.NewReader(c)}
		}
		_, err := fmt.Fprintf(w, "POST /generate HTTP/1.1\r\nHost: usher\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		if fresh && errors.Is(err, syscall.ECONNRESET) && rig.Refused(address) {
			return nil // the kernel took the connection while the listener closed; nothing was sent
		}
		if err != nil {
			return err
		}
		resp, err := http.ReadResponse(w.In, nil)
		if fresh && errors.Is(err, syscall.ECONNRESET) && rig.Refused(address) {
			return nil // the same, a moment later
		}
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if err != nil {
			return err
		}
		switch {
		case resp.StatusCode == 200:
			*served++
		case resp.StatusCode == 503 && resp.Header.Get("X-Usher-Refusal") == "draining":
		default:
			return fmt.Errorf("status %s", resp.Status)
		}
		if *served == 5 && began != nil {
			close(began)
			began = nil
		}
		if resp.Close {
			_ = w.Close()
			w = nil
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Clients that the kernel has connected when the listener closes, but that Usher has not
// accepted, are answered and not reset.
func TestTheBacklogIsAnsweredInADrain(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells of a backlog; run it there")
	}
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s)).Ready()
	u.Signal(syscall.SIGSTOP)
	status := fmt.Sprintf("/proc/%d/status", u.Cmd.Process.Pid)
	require.Eventually(t, func() bool {
		text, err := os.ReadFile(status)
		return err == nil && strings.Contains(string(text), "T (stopped)")
	}, rig.Patience, time.Millisecond)
	var clients [20]*rig.Wire
	for i := range clients {
		clients[i] = rig.Dial(t, u.Public)
		clients[i].Request("POST", "/generate", s.Ticket().Flat(""))
	}
	u.Signal(syscall.SIGTERM) // comes before anything else once it goes on
	u.Signal(syscall.SIGCONT)
	for _, c := range clients {
		require.NotEmpty(t, c.Response(), "served or refused")
		require.True(t, c.Closed())
	}
	require.Equal(t, 0, u.Wait())
}

// A stream whose head promised to keep the connection ends after the delay: the
// client's next request is answered, not met by a close.
func TestRequestAfterADrainedStreamIsAnswered(t *testing.T) {
	t.Parallel()
	s, script := rig.NewSigner(t), rig.NewSteps()
	u := rig.Start(t, rig.Settings(rig.NewModel(t, script.Serve), s)).Ready()
	w := rig.Dial(t, u.Public)
	w.Request("POST", "/generate_stream", s.Ticket().Flat(""))
	script.Events <- "data: 1\n\n"
	resp, err := http.ReadResponse(w.In, nil)
	require.NoError(t, err)
	require.False(t, resp.Close)
	idle := rig.Dial(t, u.Public)
	idle.Request("GET", "/ping", nil)
	require.Equal(t, "200 OK\npong", idle.Response())
	u.Signal(syscall.SIGTERM)
	require.Eventually(t, func() bool { return rig.Refused(u.Public) }, rig.Patience, time.Millisecond)
	time.Sleep(300 * time.Millisecond) // a stream goes on for longer than any pause at the end
	idle.Request("POST", "/generate", s.Ticket().Flat(""))
	require.Contains(t, idle.Response(), "draining", "kept while something is in flight")
	require.True(t, idle.Closed())
	next := s.Ticket().Flat("") // signed now: there is little time once the stream has ended
	close(script.Events)
	_, err = io.ReadAll(resp.Body)
	require.NoError(t, err)
	w.Request("POST", "/generate", next)
	require.Contains(t, w.Response(), "draining")
	require.True(t, w.Closed())
	require.Equal(t, 0, u.Wait())
}

// A silent connection does not hold up the end.
func TestSilentConnectionsDoNotHoldUpADrain(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s)).Ready()
	kept := rig.Dial(t, u.Public)
	kept.Request("GET", "/ping", nil)
	require.Equal(t, "200 OK\npong", kept.Response())
	u.Signal(syscall.SIGTERM)
	begun := time.Now()
	require.Equal(t, 0, u.Wait())
	require.Less(t, time.Since(begun), 5*time.Second)
	require.True(t, kept.Closed())
}
