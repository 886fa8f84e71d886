package order

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// Two keys number their tickets as they like. With no slot free, requests of both take
// turns: the one with the higher numbers does not wait for all of the other's.
func TestTwoKeysTakeTurns(t *testing.T) {
	t.Parallel()
	a, b := rig.NewSigner(t), rig.NewEd25519Signer(t)
	gate := make(chan struct{})
	m := rig.NewModel(t, func(http.ResponseWriter, *http.Request) { <-gate })
	u := rig.Start(t, rig.Settings(m, a).With(rig.Env{
		"USHER_PUBLIC_KEY": a.Public() + b.Public(), "USHER_MAX_CONCURRENCY": "1",
	})).Ready()
	var clients sync.WaitGroup
	send := func(s *rig.Signer, n int64) {
		clients.Go(func() { u.Do("POST", "/generate", s.Numbered(n).Flat(""), http.Header{"X-Number": {rig.Itoa(int(n))}}) })
	}
	send(a, 1)
	require.Eventually(t, func() bool { return len(m.Arrivals()) == 1 }, rig.Patience, time.Millisecond)
	gate <- struct{}{}
	clients.Wait()
	send(a, 2)
	require.Eventually(t, func() bool { return len(m.Arrivals()) == 2 }, rig.Patience, time.Millisecond)
	send(b, 1_000_000) // its key's first
	u.WaitMetric("usher_waiting", 1)
	for waiting, n := range []int64{3, 4, 5} {
		send(a, n)
		u.WaitMetric("usher_waiting", float64(waiting+2))
	}
	send(b, 1_000_001)
	u.WaitMetric("usher_waiting", 5)
	for range 6 {
		gate <- struct{}{}
	}
	clients.Wait()
	require.Equal(t, []string{"1", "2", "1000000", "3", "1000001", "4", "5"}, numbers(m))
}

// A number of one key neither fills a gap of another, nor gives it up.
func TestEachKeyHasItsGaps(t *testing.T) {
	t.Parallel()
	a, b := rig.NewSigner(t), rig.NewEd25519Signer(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), a).With(rig.Env{
		"USHER_PUBLIC_KEY": a.Public() + b.Public(), "USHER_REORDER_HOLD": "20s", "USHER_REORDER_MAX_HOLD": "20s",
	})).Ready()
	post := func(s *rig.Signer, n int64) int { return u.Post("/generate", s.Numbered(n).Flat("")).Status }
	require.Equal(t, 200, post(a, 100))
	require.Equal(t, 200, post(b, 5000))
	var held sync.WaitGroup
	held.Go(func() { post(a, 102) })
	u.WaitMetric("usher_held", 1)
	require.Equal(t, 200, post(b, 5001))
	require.EqualValues(t, 1, u.Metric("usher_held"))
	require.Equal(t, 200, post(a, 101))
	held.Wait()
	require.EqualValues(t, 1, u.Metric("usher_held_total"))
	require.Zero(t, u.Metric("usher_late_total")+u.Metric("usher_gaps_given_up_total"))
}
