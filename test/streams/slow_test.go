package streams

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// A client that sends a byte now and then keeps its connection no longer than
// USHER_READ_TIMEOUT, in the head or the body: the time is for the whole request.
func TestSlowloris(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{"USHER_READ_TIMEOUT": "1s"})).Ready()
	var cases sync.WaitGroup
	for name, begin := range map[string]string{
		"head": "POST /generate HTTP/1.1\r\nHost: usher\r\nX-Slow: ",
		"body": rig.Head(1<<20) + "{",
	} {
		rig.SideBySide(t, &cases, name, func(t *testing.T) {
			c := rig.Dial(t, u.Public)
			c.Send(begin)
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
			resp, err := http.ReadResponse(c.In, nil)
			close(done)
			drip.Wait()
			require.NoError(t, err)
			require.Equal(t, 408, resp.StatusCode)
			require.True(t, resp.Close)
		})
	}
	cases.Wait()
	u.WaitMetric("usher_reading_bytes", 0)
}

// A client that reads nothing for USHER_WRITE_TIMEOUT is cut off: its slot becomes
// free and the model server stops.
func TestReaderThatStopsIsCut(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		event := "data: " + strings.Repeat("x", 8<<10) + "\n\n"
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, event); err != nil {
				return
			}
		}
	})
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_WRITE_TIMEOUT": "500ms", "USHER_MAX_CONCURRENCY": "1"})).Ready()
	c := rig.Dial(t, u.Public)
	c.Request("POST", "/generate_stream", s.Ticket().Flat(""))
	_, err := c.In.Peek(1)
	require.NoError(t, err)
	line := u.WaitLine(`"outcome":"client_stalled"`)
	require.Contains(t, line, `"route":"/generate_stream"`)
	u.WaitMetric("usher_in_flight", 0)
	select {
	case <-m.Gone:
	case <-time.After(rig.Patience):
		require.Fail(t, "the model server goes on although the client was cut off")
	}
}

// Replays, however many, are refused without a public-key operation.
func TestReplaysCostNoVerification(t *testing.T) {
	t.Parallel()
	const clients, each = 8, 50
	s := rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	u := rig.Start(t, rig.Settings(m, s)).Ready()
	body := s.Ticket().Flat("")
	require.Equal(t, 200, u.Post("/generate", body).Status)
	verified := u.Metric("usher_verify_seconds_count")
	require.EqualValues(t, 1, verified)
	request := append([]byte(rig.Head(len(body))), body...)
	var flood sync.WaitGroup
	for range clients {
		c := rig.Dial(t, u.Public)
		flood.Go(func() {
			for range each {
				_, _ = io.Copy(c, bytes.NewReader(request))
				resp, err := http.ReadResponse(c.In, nil)
				if err != nil || resp.StatusCode != 409 {
					t.Errorf("a replay: %v, %v", resp, err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
			}
		})
	}
	flood.Wait()
	require.EqualValues(t, clients*each, u.Metric(`usher_requests_total{outcome="reqnum_replayed",route="/generate"}`))
	require.Equal(t, verified, u.Metric("usher_verify_seconds_count"))
	require.Len(t, m.Arrivals(), 1)
}
