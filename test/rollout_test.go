package test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// From the first moment of a drain every answer says that it is the last on its
// connection, and is.
func TestDrainEndsConnectionsWithTheirAnswers(t *testing.T) {
	t.Parallel()
	s, script := newSigner(t), newSteps()
	m := newModel(t, nil)
	begin := make(chan struct{})
	m.respond = func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/generate_stream":
			script.serve(w, r)
			return
		case "/v1/completions":
			select {
			case <-begin:
			case <-t.Context().Done():
			}
		}
		_, _ = io.WriteString(w, `{"generated_text":"ok"}`)
	}
	u := start(t, settings(m, s).with(env{"USHER_DRAIN_DELAY": "1h", "USHER_CORS_ORIGINS": "*"})).ready()
	waiting := dial(t, u.public) // its answer begins in the drain
	requests := map[string]func(w *wire){
		"GET /health":   func(w *wire) { w.request("GET", "/health", nil) },
		"HEAD /health":  func(w *wire) { w.request("HEAD", "/health", nil) },
		"GET /ping":     func(w *wire) { w.request("GET", "/ping", nil) },
		"preflight":     func(w *wire) { w.request("OPTIONS", "/generate", nil) },
		"no such route": func(w *wire) { w.request("POST", "/nowhere", []byte("{}")) },
		"wrong method":  func(w *wire) { w.request("GET", "/generate", nil) },
		"no ticket":     func(w *wire) { w.request("POST", "/generate", []byte("{}")) },
		"no HTTP":       func(w *wire) { w.write("GET /ping HTTP/1.1\r\nHost: a\r\nContent-Length: a\r\n\r\n") },
		"relayed":       func(w *wire) { w.request("POST", "/generate", s.ticket().flat("")) },
		"HTTP/1.0": func(w *wire) {
			body := s.ticket().flat("")
			w.write("POST /generate HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: " + itoa(len(body)) + "\r\n\r\n" + string(body))
		},
		"stream": func(w *wire) {
			w.request("POST", "/generate_stream", s.ticket().flat(""))
			close(script.send)
		},
	}
	kept := map[string]*wire{}
	for name := range requests {
		kept[name] = dial(t, u.public)
		kept[name].request("GET", "/ping", nil)
		require.Equal(t, "200 OK\npong", kept[name].response())
	}
	waiting.request("POST", "/v1/completions", s.ticket().flat(""))
	require.Eventually(t, func() bool { return len(m.arrivals()) == 1 }, patience, time.Millisecond)
	u.signal(syscall.SIGTERM)
	u.waitLine(`"msg":"draining"`)
	for name, send := range requests {
		send(kept[name])
		method, _, _ := strings.Cut(name, " ")
		resp, err := http.ReadResponse(kept[name].in, &http.Request{Method: method})
		require.NoError(t, err, name)
		_, err = io.ReadAll(resp.Body)
		require.NoError(t, err, name)
		require.True(t, resp.Close, name)
		require.True(t, kept[name].closed(), name)
	}
	close(begin)
	resp, err := http.ReadResponse(waiting.in, nil)
	require.NoError(t, err)
	_, err = io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.True(t, resp.Close, "begun in the drain, sent before it")
	u.signal(syscall.SIGTERM)
	require.Equal(t, 0, u.wait())
}

// A client that keeps its connection as long as it is told to, and sends its
// next request 10 ms after each answer without a look at the connection, loses
// nothing when the worker is replaced: each request is answered, or finds nobody
// listening and was never sent.
func TestRolloutsLoseNothing(t *testing.T) {
	t.Parallel()
	for i := range 5 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			s := newSigner(t)
			u := start(t, settings(newModel(t, nil), s).with(env{"USHER_DRAIN_DELAY": "400ms"})).ready()
			var served int
			ended := make(chan error, 1)
			began := make(chan struct{})
			go func() { ended <- patient(u.public, s, began, &served) }()
			select {
			case <-began:
			case err := <-ended:
				require.NoError(t, err, "before the rollout")
			}
			u.signal(syscall.SIGTERM)
			require.NoError(t, <-ended, "after %d answers", served)
			require.Greater(t, served, 10, "the delay is time to serve")
			require.Equal(t, 0, u.wait())
		})
	}
}

// patient sends requests until nobody listens; began is closed after the fifth
// answer. Its error is a request that was sent and lost.
func patient(address string, s *signer, began chan<- struct{}, served *int) error {
	var w *wire
	for {
		if w == nil {
			c, err := net.Dial("tcp", address)
			if errors.Is(err, syscall.ECONNREFUSED) {
				return nil
			}
			if err != nil {
				return err
			}
			w = &wire{Conn: c, in: bufio.NewReader(c)}
		}
		body := s.ticket().flat("")
		_, err := fmt.Fprintf(w, "POST /generate HTTP/1.1\r\nHost: usher\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		if err != nil {
			return err
		}
		resp, err := http.ReadResponse(w.in, nil)
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

// A stream whose head promised to keep the connection, and which ends after the
// delay: its client's next request is answered, and not met by a close.
func TestAfterAStreamOfTheDrainTheNextRequestIsAnswered(t *testing.T) {
	t.Parallel()
	s, script := newSigner(t), newSteps()
	u := start(t, settings(newModel(t, script.serve), s)).ready()
	w := dial(t, u.public)
	w.request("POST", "/generate_stream", s.ticket().flat(""))
	script.send <- "data: 1\n\n"
	resp, err := http.ReadResponse(w.in, nil)
	require.NoError(t, err)
	require.False(t, resp.Close)
	idle := dial(t, u.public)
	idle.request("GET", "/ping", nil)
	require.Equal(t, "200 OK\npong", idle.response())
	u.signal(syscall.SIGTERM)
	require.Eventually(t, func() bool { return refused(u.public) }, patience, time.Millisecond)
	time.Sleep(300 * time.Millisecond) // a stream goes on for longer than any pause at the end
	idle.request("POST", "/generate", s.ticket().flat(""))
	require.Contains(t, idle.response(), "draining", "kept while something is in flight")
	require.True(t, idle.closed())
	close(script.send)
	_, err = io.ReadAll(resp.Body)
	require.NoError(t, err)
	time.Sleep(10 * time.Millisecond)
	w.request("POST", "/generate", s.ticket().flat(""))
	require.Contains(t, w.response(), "draining")
	require.True(t, w.closed())
	require.Equal(t, 0, u.wait())
}

// A connection on which nothing comes does not hold up the end.
func TestSilentConnectionsDoNotHoldUpADrain(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	u := start(t, settings(newModel(t, nil), s)).ready()
	kept := dial(t, u.public)
	kept.request("GET", "/ping", nil)
	require.Equal(t, "200 OK\npong", kept.response())
	u.signal(syscall.SIGTERM)
	begun := time.Now()
	require.Equal(t, 0, u.wait())
	require.Less(t, time.Since(begun), 5*time.Second)
	require.True(t, kept.closed())
}
