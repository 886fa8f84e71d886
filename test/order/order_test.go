package order

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// With no free slot the lowest number goes first, whatever the order of arrival.
func TestQueueGoesByNumber(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	gate := make(chan struct{})
	m := rig.NewModel(t, func(http.ResponseWriter, *http.Request) { <-gate })
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_MAX_CONCURRENCY": "1"})).Ready()
	var clients sync.WaitGroup
	send := func(n int64) {
		clients.Go(func() { u.Do("POST", "/generate", s.Numbered(n).Flat(""), http.Header{"X-Number": {rig.Itoa(int(n))}}) })
	}
	send(1)
	require.Eventually(t, func() bool { return len(m.Arrivals()) == 1 }, rig.Patience, time.Millisecond)
	for waiting, n := range []int64{9, 4, 7, 2, 5} {
		send(n)
		u.WaitMetric("usher_waiting", float64(waiting+1))
	}
	for range 6 {
		gate <- struct{}{}
	}
	clients.Wait()
	require.Equal(t, []string{"1", "2", "4", "5", "7", "9"}, numbers(m))
}

// With free slots, a number behind a gap is held until the gap is filled; then all go
// at once, or in order with a single slot.
func TestGapIsHeldAndFilled(t *testing.T) {
	t.Parallel()
	together := make(chan struct{})
	all := sync.OnceFunc(func() { close(together) })
	require.ElementsMatch(t, []string{"1", "2", "3", "4"}, fillGap(t, "3", func(m *rig.Model, r *http.Request) {
		if r.Header.Get("X-Number") == "1" {
			return
		}
		if len(m.Arrivals()) == 4 {
			all()
		}
		select {
		case <-together:
		case <-r.Context().Done():
		}
	}), "connections of their own may overtake")
	require.Equal(t, []string{"1", "2", "3", "4"}, fillGap(t, "1", func(*rig.Model, *http.Request) {}))
}

// fillGap sends 1, then 4 and 3, which wait for 2, then 2. It returns the order in
// which they reached the model server.
func fillGap(t *testing.T, slots string, at func(*rig.Model, *http.Request)) []string {
	s := rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	m.Respond = func(_ http.ResponseWriter, r *http.Request) { at(m, r) }
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{
		"USHER_REORDER_HOLD": "10s", "USHER_REORDER_MAX_HOLD": "10s", "USHER_MAX_CONCURRENCY": slots,
	})).Ready()
	var clients sync.WaitGroup
	send := func(n int64) {
		clients.Go(func() { u.Do("POST", "/generate", s.Numbered(n).Flat(""), http.Header{"X-Number": {rig.Itoa(int(n))}}) })
	}
	send(1)
	clients.Wait()
	send(4)
	send(3)
	u.WaitMetric("usher_waiting", 2)
	send(2)
	clients.Wait()
	for _, n := range []string{"3", "4"} {
		line := u.WaitLine(`"reqnum":` + n + `,`)
		require.Contains(t, line, `"outcome":"ok"`)
		require.NotContains(t, line, `"hold_ms":0,`, "%s was held", n)
	}
	return numbers(m)
}

// A number that never comes holds the others no longer than USHER_REORDER_HOLD.
func TestGapIsGivenUp(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_REORDER_HOLD": "50ms"})).Ready()
	require.Equal(t, 200, u.Post("/generate", s.Numbered(1).Flat("")).Status)
	require.Equal(t, 200, u.Post("/generate", s.Numbered(3).Flat("")).Status)
	require.EqualValues(t, 1, u.Metric("usher_gaps_given_up_total"))
	require.Equal(t, 200, u.Post("/generate", s.Numbered(2).Flat("")).Status, "a late number inside the window must be served")
	require.EqualValues(t, 1, u.Metric("usher_late_total"))
}

// Nobody is held for a number that came and was refused after its signature was verified.
func TestARefusedNumberIsNoGap(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	u := rig.Start(t, rig.Settings(rig.NewModel(t, nil), s).With(rig.Env{
		"USHER_REORDER_HOLD": "20s", "USHER_REORDER_MAX_HOLD": "20s", "USHER_COST_POLICY": "enforce",
	})).Ready()
	const dear = `"parameters":{"max_new_tokens":1000000}`
	require.Equal(t, 200, u.Post("/generate", s.Numbered(1).Flat("")).Status)
	require.Equal(t, "cost_exceeded", u.Post("/generate", s.Numbered(2).Flat(dear)).Code())
	inTheHead := rig.Ticket(s.Numbered(3))
	require.Equal(t, "cost_exceeded", u.Do("POST", "/generate", []byte("{"+dear+"}"), http.Header{"Authorization": {"SignedRoute " + inTheHead.Token()}}).Code())
	require.Equal(t, 200, u.Post("/generate", s.Numbered(4).Flat("")).Status)
	require.Zero(t, u.Metric("usher_gaps_given_up_total"))
	require.Zero(t, u.Metric("usher_held_total"))
	require.Equal(t, 200, u.Post("/generate", s.Numbered(2).Flat("")).Status, "its ticket must stay good")
}

func numbers(m *rig.Model) []string {
	var list []string
	for _, a := range m.Arrivals() {
		list = append(list, a.Header.Get("X-Number"))
	}
	return list
}

// Every answer says where its time went.
func TestServerTiming(t *testing.T) {
	t.Parallel()
	s := rig.NewSigner(t)
	m := rig.NewModel(t, nil)
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_REORDER_HOLD": "40ms"})).Ready()
	timing := func(got rig.Answer) map[string]float64 {
		parts := map[string]float64{}
		for part := range strings.SplitSeq(got.Header.Get("Server-Timing"), ", ") {
			name, dur, ok := strings.Cut(part, ";dur=")
			require.True(t, ok, "%q", part)
			ms, err := strconv.ParseFloat(dur, 64)
			require.NoError(t, err)
			parts[name] = ms
		}
		require.Len(t, parts, 4)
		return parts
	}
	first := timing(u.Post("/generate", s.Numbered(1).Flat("")))
	require.Positive(t, first["verify"])
	require.Positive(t, first["upstream"])
	require.Zero(t, first["hold"])

	held := timing(u.Post("/generate", s.Numbered(3).Flat("")))
	require.GreaterOrEqual(t, held["hold"], 40.0)
	require.Zero(t, held["queue"])

	refused := timing(u.Post("/generate", []byte("{")))
	require.Zero(t, refused["verify"]+refused["upstream"])
	require.Equal(t, 1.0, u.Metric("usher_held_total"))
	require.Zero(t, u.Metric("usher_reordered_ratio"))
}
