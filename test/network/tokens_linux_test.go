package network

import (
	"bufio"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/full"
)

// Streams of tokens that tell when they were made.
const (
	tokens     = 200
	tokenEvery = 25 * time.Millisecond
	streams    = 5 // a host and way
)

// Each token of a stream comes through Usher, whole and in its place, on a network
// that does not make it easy; how much later than straight from the model server,
// over the same network in the same seconds, is logged.
func TestTokensOnANetwork(t *testing.T) {
	full.Only(t)
	for _, tt := range []struct {
		name string
		at   condition
	}{
		{"LAN", condition{}},
		{"20 ms ± 5 ms, 1 % loss", condition{delay: 20 * time.Millisecond, jitter: 5 * time.Millisecond, loss: 0.01}},
		{"100 ms ± 30 ms", jittery},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := build(t, plan{beside: true, answer: tell})
			var mu sync.Mutex
			delays := map[bool][]time.Duration{} // by whether Usher is between
			var reading sync.WaitGroup
			for range clientHosts {
				h := w.lab.host()
				client := &http.Client{Transport: h.client(), Timeout: 2 * time.Minute}
				for n := range 2 * streams {
					through := n%2 == 0
					ticket, err := w.ticket(client)
					require.NoError(t, err)
					m := message{ticket: fmt.Sprint(ticket.Reqnum), path: "/generate_stream", authorization: ticket.token()}
					req, err := w.request(t.Context(), m, `{"inputs":"x"}`)
					require.NoError(t, err)
					if !through {
						req.URL.Host = w.model.host.at(modelPort)
					}
					reading.Go(func() {
						list, err := listenTo(client, req)
						if err != nil || len(list) != tokens {
							t.Errorf("%d of %d tokens: %v", len(list), tokens, err)
						}
						mu.Lock()
						delays[through] = append(delays[through], list...)
						mu.Unlock()
					})
				}
				h.set(tt.at)
			}
			reading.Wait()
			at := func(through bool, q float64) float64 {
				list := delays[through]
				slices.Sort(list)
				return list[int(q*float64(len(list)-1))].Seconds() * 1000
			}
			t.Logf("a token takes, p50 and p99: straight %.2f and %.2f ms, through Usher %.2f and %.2f ms; p99 %.2f times as long",
				at(false, 0.5), at(false, 0.99), at(true, 0.5), at(true, 0.99), at(true, 0.99)/at(false, 0.99))
		})
	}
}

// tell is a model server whose tokens say when they were made.
func tell(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	ticker := time.NewTicker(tokenEvery)
	defer ticker.Stop()
	for n := range tokens {
		_, _ = fmt.Fprintf(w, "data: %d %d\n\n", n, time.Since(started))
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-ticker.C:
		}
	}
}

var started = time.Now()

// listenTo returns how long each token took.
func listenTo(client *http.Client, req *http.Request) (list []time.Duration, err error) {
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		said, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		number, made, _ := strings.Cut(said, " ")
		at, err := strconv.ParseInt(made, 10, 64)
		if err != nil || number != strconv.Itoa(len(list)) {
			return list, fmt.Errorf("not token %d: %q", len(list), said)
		}
		list = append(list, time.Since(started)-time.Duration(at))
	}
	return list, lines.Err()
}
