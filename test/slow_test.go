package test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A client that sends a byte now and then holds its connection no longer than
// USHER_READ_TIMEOUT, in the head as in the body: the time is for all of it.
func TestSlowloris(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	u := start(t, settings(newModel(t, nil), s).with(env{"USHER_READ_TIMEOUT": "500ms"})).ready()
	for name, begin := range map[string]string{
		"head": "POST /generate HTTP/1.1\r\nHost: usher\r\nX-Slow: ",
		"body": head(1<<20) + "{",
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, u.public)
			c.write(begin)
			done := make(chan struct{})
			var drip sync.WaitGroup
			drip.Go(func() {
				every := time.NewTicker(20 * time.Millisecond)
				defer every.Stop()
				for {
					select {
					case <-every.C:
						if _, err := c.Write([]byte(" ")); err != nil {
							return
						}
					case <-done:
						return
					}
				}
			})
			resp, err := http.ReadResponse(c.in, nil)
			close(done)
			drip.Wait()
			require.NoError(t, err)
			require.Equal(t, 408, resp.StatusCode)
			require.True(t, resp.Close)
		})
	}
	require.Eventually(t, func() bool { return u.metric("usher_reading_bytes") == 0 }, patience, 10*time.Millisecond)
}

// A client that takes nothing for USHER_WRITE_TIMEOUT is cut: its slot is free
// and the model server stops.
func TestReaderThatStopsIsCut(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	m := newModel(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		event := "data: " + strings.Repeat("x", 8<<10) + "\n\n"
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, event); err != nil {
				return
			}
		}
	})
	u := start(t, settings(m, s).with(env{"USHER_WRITE_TIMEOUT": "500ms", "USHER_MAX_CONCURRENCY": "1"})).ready()
	c := dial(t, u.public)
	c.request("POST", "/generate_stream", s.ticket().flat(""))
	_, err := c.in.Peek(1)
	require.NoError(t, err)
	line := u.waitLine(`"outcome":"client_stalled"`)
	require.Contains(t, line, `"route":"/generate_stream"`)
	require.Eventually(t, func() bool { return u.metric("usher_in_flight") == 0 }, patience, time.Millisecond)
	select {
	case <-m.gone:
	case <-time.After(patience):
		require.Fail(t, "the model server goes on")
	}
}

// Replays are refused without a public-key operation, however many they are.
func TestReplaysCostNoVerification(t *testing.T) {
	t.Parallel()
	const clients, each = 8, 50
	s := newSigner(t)
	m := newModel(t, nil)
	u := start(t, settings(m, s)).ready()
	body := s.ticket().flat("")
	require.Equal(t, 200, u.post("/generate", body).status)
	verified := u.metric("usher_verify_seconds_count")
	require.EqualValues(t, 1, verified)
	request := append([]byte(head(len(body))), body...)
	var flood sync.WaitGroup
	for range clients {
		c := dial(t, u.public)
		flood.Go(func() {
			for range each {
				_, _ = io.Copy(c, bytes.NewReader(request))
				resp, err := http.ReadResponse(c.in, nil)
				if err != nil || resp.StatusCode != 409 {
					t.Errorf("a replay: %v, %v", resp, err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
			}
		})
	}
	flood.Wait()
	require.EqualValues(t, clients*each, u.metric(`usher_requests_total{outcome="reqnum_replayed",route="/generate"}`))
	require.Equal(t, verified, u.metric("usher_verify_seconds_count"))
	require.Len(t, m.arrivals(), 1)
}
