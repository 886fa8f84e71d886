package network

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/rig"
)

// The ways in which a request can be under way when its client vanishes.
var underWay = []string{
	"tokens", "rare tokens", "silence", "head", "large answer", "upload", "path for small packets alone",
}

// A client that vanishes without a word, or to which packets of full size do not
// get through any more, does not hold the model server for longer than
// USHER_WRITE_TIMEOUT and a quarter, whatever its request was doing, and for an
// upload than USHER_READ_TIMEOUT.
func TestVanishedClientFreesTheModelServer(t *testing.T) {
	t.Parallel()
	full.Only(t)
	for _, tt := range []struct {
		timeout time.Duration
		tls     bool
	}{{60 * time.Second, false}, {60 * time.Second, true}, {12 * time.Second, false}} {
		t.Run(fmt.Sprintf("%v TLS=%t", tt.timeout, tt.tls), func(t *testing.T) {
			t.Parallel()
			settings := rig.Env{"USHER_ROUTES": "/generate_stream,/upload"}
			if tt.timeout != 60*time.Second {
				settings["USHER_WRITE_TIMEOUT"] = tt.timeout.String()
			}
			var config *tls.Config
			if tt.tls {
				cert, key, pool := rig.CertificateFiles(t, t.TempDir())
				settings = settings.With(rig.Env{"USHER_TLS_CERT_FILE": cert, "USHER_TLS_KEY_FILE": key})
				config = &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
			}
			w := build(t, plan{answer: hold, settings: settings})
			descriptors := w.usher.Metric("process_open_fds")
			hosts := make([]*host, len(underWay))
			for i, kind := range underWay {
				hosts[i] = w.lab.host()
				w.begin(hosts[i], config, kind)
			}
			time.Sleep(3 * time.Second) // all is well under way, and the large answer fills the buffers
			require.EqualValues(t, len(underWay), w.usher.Metric("usher_in_flight"))
			began := time.Now()
			for i, kind := range underWay {
				if kind == "path for small packets alone" {
					hosts[i].set(condition{mtu: 600, silent: true})
				} else {
					hosts[i].vanish()
				}
			}
			var waiting sync.WaitGroup
			for _, kind := range underWay {
				waiting.Go(func() {
					for end := time.Now().Add(tt.timeout*5/4 + slack); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
						if at, gone := w.model.gone(kind); gone {
							t.Logf("%s: the model server is free after %.1f s", kind, at.Sub(began).Seconds())
							return
						}
					}
					t.Errorf("%s: the model server is not free", kind)
				})
			}
			waiting.Wait()
			w.settles(descriptors)
		})
	}
}

// slack is what a busy machine may add to a time-out, below any other than the one
// that is looked at.
const slack = 25 * time.Second

// begin has a client on h send a request of a kind, and read what comes.
func (w *world) begin(h *host, config *tls.Config, kind string) {
	w.t.Helper()
	transport := h.client()
	transport.TLSClientConfig = config
	client := &http.Client{Transport: transport}
	ticket, err := w.ticket(client)
	require.NoError(w.t, err)
	payload := `{"inputs":"x"}`
	m := message{ticket: kind, id: strings.ReplaceAll(kind, " ", "-"), kind: kind, path: "/generate_stream", authorization: ticket.token()}
	if kind == "upload" {
		m.path = "/upload"
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	req, err := w.request(ctx, m, payload)
	require.NoError(w.t, err)
	var under sync.WaitGroup
	if kind == "upload" {
		piped, write := io.Pipe()
		req.Body, req.ContentLength = piped, 1<<20
		under.Go(func() { _, _ = write.Write(make([]byte, 100<<10)) })
		stop := cancel
		cancel = func() { stop(); _ = piped.Close() }
	}
	under.Go(func() {
		resp, err := client.Do(req)
		if err != nil {
			return // the head never came, and the test ends
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	})
	w.t.Cleanup(func() { cancel(); under.Wait() })
	require.Eventually(w.t, func() bool { return w.model.times(kind) == 1 }, rig.Patience, time.Millisecond, kind)
}

// hold is a model server that is never done.
func hold(w http.ResponseWriter, r *http.Request) {
	kind := r.Header.Get("X-Kind")
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	token, every := "data: token\n\n", 50*time.Millisecond
	switch kind {
	case "quick":
		return
	case "head":
		<-r.Context().Done()
		return
	case "rare tokens":
		every = 55 * time.Second // just before the last keep-alive probe
	case "silence":
		every = time.Hour
	case "large answer":
		token, every = strings.Repeat("x", 64<<10), time.Millisecond
	case "path for small packets alone":
		token = "data: " + strings.Repeat("x", 2000) + "\n\n"
	}
	w.Header().Set("Content-Type", "text/event-stream")
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for r.Context().Err() == nil {
		_, _ = io.WriteString(w, token)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
		case <-ticker.C:
		}
	}
}

// A model server whose host vanishes without a word is given up: after the last of
// the keep-alive probes by those to whom it said nothing, and what it did not even
// acknowledge after USHER_UPSTREAM_TIMEOUT. Each client is told, and no place is
// held.
func TestVanishedModelServerIsGivenUp(t *testing.T) {
	t.Parallel()
	full.Only(t)
	const probed, timeout = 60 * time.Second, 20 * time.Second
	t.Run("under way", func(t *testing.T) {
		t.Parallel()
		w := build(t, plan{answer: hold, settings: rig.Env{"USHER_HEALTH_INTERVAL": "1s", "USHER_HEALTH_FAILURES": "3"}})
		descriptors := w.usher.Metric("process_open_fds")
		h, ends := w.lab.host(), make(chan ending, 3)
		kinds := []string{"silence", "tokens", "head"}
		for _, kind := range kinds {
			w.send(h, kind, ends)
			require.Eventually(t, func() bool { return w.model.times(kind) == 1 }, rig.Patience, time.Millisecond, kind)
		}
		w.model.host.vanish()
		for range kinds {
			e := w.end(ends, probed)
			require.Contains(t, e.answer, "upstream_broken", e.kind)
		}
		w.settles(descriptors)
	})
	t.Run("on a kept connection", func(t *testing.T) {
		t.Parallel()
		w := build(t, plan{answer: hold, settings: rig.Env{"USHER_UPSTREAM_TIMEOUT": timeout.String(), "USHER_CONNECT_TIMEOUT": "2s", "USHER_HEALTH_INTERVAL": "1h", "USHER_UPSTREAM_IDLE_TIMEOUT": "1h"}})
		descriptors := w.usher.Metric("process_open_fds")
		h, ends := w.lab.host(), make(chan ending, 1)
		w.send(h, "quick", ends)
		require.Contains(t, w.end(ends, 0).answer, "200")
		w.model.host.vanish()
		w.send(h, "quick", ends)
		require.Contains(t, w.end(ends, timeout).answer, "upstream_timeout")
		w.send(h, "quick", ends)
		require.Contains(t, w.end(ends, 0).answer, "upstream_unreachable", "a new connection")
		w.settles(descriptors)
	})
}

// While the autoscaler's host is gone Usher serves the tickets that there are, and
// collects nothing; when it is back the reports go on.
func TestVanishedAutoscalerIsNotMissed(t *testing.T) {
	t.Parallel()
	full.Only(t)
	w := build(t, plan{answer: hold, settings: rig.Env{"USHER_PUBLIC_KEY_REFRESH": "1s"}})
	descriptors := w.usher.Metric("process_open_fds")
	h, ends := w.lab.host(), make(chan ending, 1)
	client := &http.Client{Transport: h.client()}
	var tickets []ticket
	for range 20 {
		ticket, err := w.ticket(client)
		require.NoError(t, err)
		tickets = append(tickets, ticket)
	}
	w.routing.vanish()
	for _, ticket := range tickets {
		w.spend(client, ticket, "quick", ends)
		require.Contains(t, w.end(ends, 0).answer, "200")
		time.Sleep(time.Second)
	}
	require.LessOrEqual(t, w.usher.Metric("process_open_fds"), descriptors+20)
	before := w.scaler.Reports().Status
	w.routing.set(condition{})
	back := time.Now()
	ended := map[string]int{}
	all := func() bool { return ended["Success"] >= len(tickets) && w.scaler.Reports().Status > before }
	for end := time.Now().Add(20*time.Second + slack); !all() && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		ended = w.scaler.Reports().Ended
	}
	require.Equal(t, map[string]int{"Success": len(tickets)}, ended)
	require.Greater(t, w.scaler.Reports().Status, before)
	t.Logf("all is reported %.1f s after the autoscaler is back", time.Since(back).Seconds())
	client.CloseIdleConnections()
	w.settles(descriptors)
}

// An ending is what became of a request, and after how long.
type ending struct {
	kind, answer string
	took         time.Duration
}

// send has a client on h send a request, and tell what became of it.
func (w *world) send(h *host, kind string, ends chan<- ending) {
	w.t.Helper()
	client := &http.Client{Transport: h.client()}
	ticket, err := w.ticket(client)
	require.NoError(w.t, err)
	w.spend(client, ticket, kind, ends)
}

// spend sends a request with a ticket.
func (w *world) spend(client *http.Client, ticket ticket, kind string, ends chan<- ending) {
	w.t.Helper()
	m := message{ticket: kind, kind: kind, path: "/generate_stream", authorization: ticket.token()}
	req, err := w.request(w.t.Context(), m, `{"inputs":"x"}`)
	require.NoError(w.t, err)
	began := time.Now()
	go func() { // ends with the test's context at the latest
		resp, err := client.Do(req)
		if err != nil {
			ends <- ending{kind, err.Error(), time.Since(began)}
			return
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		ends <- ending{kind, fmt.Sprintf("%d %s %v", resp.StatusCode, text, err), time.Since(began)}
		client.CloseIdleConnections()
	}()
}

// end waits for what becomes of a request.
func (w *world) end(ends <-chan ending, within time.Duration) (e ending) {
	w.t.Helper()
	select {
	case e = <-ends:
		w.t.Logf("%s: the client is told after %.1f s", e.kind, e.took.Seconds())
	case <-time.After(within + rig.Patience):
		require.FailNow(w.t, "nobody is told")
	}
	return e
}
