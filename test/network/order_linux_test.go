package network

import (
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/reorder"
	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/rig"
)

// The traffic whose order is examined: Poisson, from so many clients that each request
// has an open connection. From the first ones Usher learns how long to hold.
const (
	rate     = 100 // requests a second
	counted  = 3000
	settling = 300
)

var jittery = condition{delay: 100 * time.Millisecond, jitter: 30 * time.Millisecond}

// A disorder is the share of requests that were admitted after a higher number, and
// how long requests were held on average.
type disorder struct {
	share float64
	hold  time.Duration
}

// On a network whose packets overtake one another, Usher puts the requests in order as
// the simulation predicts. How close the two are is logged, as it depends on the
// machine, which is part of the path as well.
func TestOrderOnANetworkThatReorders(t *testing.T) {
	full.Only(t)
	if rig.RaceEnabled {
		t.Skip("it measures, and the race detector is no part of it")
	}
	var mu sync.Mutex
	measured := map[string]disorder{}
	t.Run("by the hold", func(t *testing.T) {
		for _, hold := range []string{"auto", "0"} {
			t.Run(hold, func(t *testing.T) {
				t.Parallel()
				predicted, got := predict(t, hold), measureOrder(t, hold)
				t.Logf("out of order: predicted %.2f %%, measured %.2f %%; mean hold: predicted %.1f ms, measured %.1f ms",
					100*predicted.share, 100*got.share, predicted.hold.Seconds()*1000, got.hold.Seconds()*1000)
				mu.Lock()
				measured[hold] = got
				mu.Unlock()
			})
		}
	})
	if len(measured) < 2 {
		return // skipped, or failed
	}
	require.Greater(t, measured["0"].share, 0.2, "the network did not reorder")
	require.Less(t, measured["auto"].share, measured["0"].share)
}

// predict sends the same traffic through a Buffer in virtual time. A number is late by
// both ways that follow its making: that of the ticket to the client, and that of the
// request to Usher.
func predict(t *testing.T, hold string) (d disorder) {
	r := rand.New(rand.NewPCG(3, 4))
	way := func() time.Duration { return jittery.delay + time.Duration((2*r.Float64()-1)*float64(jittery.jitter)) }
	type arrival struct {
		number int64
		at     time.Duration
	}
	var arrivals []arrival
	made := time.Duration(0)
	for n := range int64(settling + counted) {
		made += time.Duration(r.ExpFloat64() / rate * float64(time.Second))
		arrivals = append(arrivals, arrival{n + 1, made + way() + way()})
	}
	slices.SortFunc(arrivals, func(a, b arrival) int { return int(a.at - b.at) })
	synctest.Test(t, func(t *testing.T) {
		b, err := reorder.New(reorder.Config{
			Auto: hold == "auto", Target: 0.01, MaxHold: 250 * time.Millisecond,
			Capacity: 512, Bytes: 1 << 28, Timeout: 30 * time.Second,
		})
		require.NoError(t, err)
		var before uint64
		var mu sync.Mutex
		var held time.Duration
		var group sync.WaitGroup
		start := time.Now()
		for i, a := range arrivals {
			time.Sleep(time.Until(start.Add(a.at)))
			if i == settling {
				before = b.Stats().Reordered
			}
			group.Go(func() {
				slot, err := b.Admit(t.Context(), reorder.Request{Number: a.number})
				if err != nil {
					t.Error(err)
				}
				slot.Sent()
				slot.Release()
				if i >= settling {
					mu.Lock()
					held += slot.Held()
					mu.Unlock()
				}
			})
		}
		group.Wait()
		d = disorder{float64(b.Stats().Reordered-before) / counted, held / counted}
	})
	return d
}

// measureOrder has clients on hosts of their own do it.
func measureOrder(t *testing.T, hold string) disorder {
	w := build(t, plan{answer: func(http.ResponseWriter, *http.Request) {}, settings: rig.Env{
		"USHER_REORDER_HOLD": hold, "USHER_MAX_CONCURRENCY": "0",
	}})
	const warm = 40 // connections a host
	busy := make(chan struct{}, clientHosts*warm)
	var clients []*http.Client
	for range clientHosts {
		h := w.lab.host()
		h.set(jittery)
		client := &http.Client{Transport: h.client(), Timeout: time.Minute}
		clients = append(clients, client)
		var pinging sync.WaitGroup
		for range warm {
			pinging.Go(func() {
				for _, url := range []string{w.url + "/ping", w.scalerURL + "/pubkey/"} {
					resp, err := client.Get(url)
					if err != nil {
						t.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			})
		}
		pinging.Wait()
	}
	seen := func() (reordered, held, admitted float64) {
		return w.usher.Metric("usher_reordered_total"), w.usher.Metric("usher_hold_seconds_sum"), w.usher.Metric("usher_hold_seconds_count")
	}
	var reordered, held, admitted float64
	var under sync.WaitGroup
	r := rand.New(rand.NewPCG(5, 6))
	next := time.Now()
	for n := range settling + counted {
		if n == settling {
			reordered, held, admitted = seen()
		}
		next = next.Add(time.Duration(r.ExpFloat64() / rate * float64(time.Second)))
		time.Sleep(time.Until(next))
		client := clients[n%len(clients)]
		select {
		case busy <- struct{}{}:
		default:
			under.Wait()
			t.Skipf("of %d requests a second %d are under way: the machine is too busy to measure; run it alone: USHER_TEST_FULL=1 go test ./test/network -run Order", rate, cap(busy))
		}
		under.Go(func() {
			defer func() { <-busy }()
			ticket, err := w.ticket(client)
			if err != nil {
				t.Error(err)
				return
			}
			req, err := w.request(t.Context(), message{path: "/generate"}, ticket.nested(`{"inputs":"x"}`))
			if err != nil {
				t.Error(err)
				return
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("%d %s", resp.StatusCode, resp.Header.Get("X-Usher-Refusal"))
			}
		})
	}
	under.Wait()
	allReordered, allHeld, allAdmitted := seen()
	n := allAdmitted - admitted
	require.Positive(t, n)
	return disorder{(allReordered - reordered) / n, time.Duration((allHeld - held) / n * float64(time.Second))}
}
