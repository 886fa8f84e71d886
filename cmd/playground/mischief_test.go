package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/autoscaler"
	"github.com/usher-sidecar/usher/test/modelserver"
	"github.com/usher-sidecar/usher/test/rsakey"
)

// clientOf makes a client of one worker, whatever that may be. The worker must
// answer /health with 200.
func clientOf(t *testing.T, worker string) *client {
	t.Helper()
	key, err := autoscaler.NewKey(rsakey.New(t))
	require.NoError(t, err)
	scaler, err := autoscaler.Start(autoscaler.Options{
		Key: key, Endpoint: endpoint, APIKey: apiKey, Workers: []string{worker}, FirstReqnum: firstReqnum,
		HealthTimeout: 20 * time.Second,
	})
	require.NoError(t, err)
	t.Cleanup(scaler.Close)
	attacker, err := autoscaler.NewKey(rsakey.New(t))
	require.NoError(t, err)
	c := &client{
		autoscaler: scaler, workers: []string{worker}, options: options{traffic: traffic{rps: 1000, tokens: 2, seed: 1}},
		window: 64, attacker: attacker, outages: &outages{}, hangups: &hangups{seen: map[string]*sighting{}},
		rotations: &atomic.Int64{}, hangupPatience: 10 * time.Millisecond,
	}
	t.Cleanup(c.http.CloseIdleConnections)
	return c
}

// refuser is a worker that refuses everything with the same answer.
func refuser(t *testing.T, status int, code string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" {
			return
		}
		w.Header().Set("X-Usher-Refusal", code)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"error":"No.","error_type":"`+code+`"}`)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// An Usher that lets everything in, or refuses everything in the same way, must not
// pass: every kind that it treats wrongly is counted, and the run fails.
func TestMisbehavingUsherIsNoticed(t *testing.T) {
	t.Parallel()
	open := modelserver.New(modelserver.Options{Keep: -1})
	require.NoError(t, open.Start())
	t.Cleanup(open.Close)
	// What neither concerns Usher nor needs a refusal.
	indifferent := []string{"lost", "wrong API key"}
	tests := []struct {
		name, worker string
		right        []string // kinds that this worker treats as it should
	}{
		{"lets everything in", open.URL(), []string{"good", "late"}},
		{"finds every signature bad", refuser(t, 401, "bad_signature"), []string{"tampered with", "forged"}},
		{"finds every ticket replayed", refuser(t, 409, "reqnum_replayed"), nil},
		{"has lost its model server", refuser(t, 502, "upstream_unreachable"), nil},
		{"is at fault", refuser(t, 500, "internal"), nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := clientOf(t, test.worker)
			for i, k := range append([]*kind{good}, mischief...) {
				// The toy model server only knows flat bodies.
				o := c.play(plan{number: i, kind: k, style: styles[0], due: time.Now()})
				right := slices.Contains(test.right, k.name) || slices.Contains(indifferent, k.name)
				require.Equal(t, right, o.err == nil, "%s: %v", k.name, o.err)
				c.tally.add(o)
			}
			err := c.tally.report(io.Discard, true)
			require.ErrorContains(t, err, "were not answered as they should be")
		})
	}
}

// The same client finds no fault with the real Usher, for any kind and route.
func TestEveryKindAtUsher(t *testing.T) {
	t.Parallel()
	o := options{traffic: traffic{rps: 100, tokens: 2, seed: 1}, servers: servers{workers: 2}}
	w, err := build(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.close()) })
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.NoError(t, w.waitReady(ctx))
	c, err := w.newClient(o)
	require.NoError(t, err)
	t.Cleanup(c.http.CloseIdleConnections)
	var each sync.WaitGroup // not t.Parallel: a late ticket waits for a second, with no need of a processor
	for i, s := range styles {
		each.Go(func() {
			t.Run(s.path, func(t *testing.T) {
				for variant, k := range append([]*kind{good}, mischief...) {
					o := c.play(plan{number: i, kind: k, style: s, variant: i + variant, due: time.Now()})
					require.NoError(t, o.err, k.name)
				}
			})
		})
	}
	each.Wait()
}

// A hang-up that does not reach the model server is noticed.
func TestHangUpThatIsNotPassedOnIsNoticed(t *testing.T) {
	t.Parallel()
	var c *client
	gone := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		// As at a model server whose client never leaves.
		c.hangups.Hook(w, r.WithContext(context.WithoutCancel(r.Context())))
		<-r.Context().Done()
		close(gone)
	}))
	t.Cleanup(s.Close)
	c = clientOf(t, s.URL)
	o := c.play(plan{kind: mischief[len(mischief)-1], style: styles[0], due: time.Now()})
	require.ErrorContains(t, o.err, "did not stop")
	<-gone
}
