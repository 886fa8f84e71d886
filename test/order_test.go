package test

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// With no free slot the lowest number goes first, however they came.
func TestQueueGoesByNumber(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	gate := make(chan struct{})
	m := newModel(t, func(http.ResponseWriter, *http.Request) { <-gate })
	u := start(t, settings(m, s).with(env{"USHER_MAX_CONCURRENCY": "1"})).ready()
	var clients sync.WaitGroup
	send := func(n int64) {
		clients.Go(func() { u.do("POST", "/generate", s.numbered(n).flat(""), http.Header{"X-Number": {itoa(int(n))}}) })
	}
	send(1)
	require.Eventually(t, func() bool { return len(m.arrivals()) == 1 }, patience, time.Millisecond)
	for waiting, n := range []int64{9, 4, 7, 2, 5} {
		send(n)
		require.Eventually(t, func() bool { return u.metric("usher_waiting") == float64(waiting+1) }, patience, time.Millisecond)
	}
	for range 6 {
		gate <- struct{}{}
	}
	clients.Wait()
	require.Equal(t, []string{"1", "2", "4", "5", "7", "9"}, numbers(m))
}

// With free slots a number ahead of a gap is held until the gap fills; then all
// go at once, or with a single slot one by one in their order.
func TestGapIsHeldAndFilled(t *testing.T) {
	t.Parallel()
	together := make(chan struct{})
	all := sync.OnceFunc(func() { close(together) })
	require.ElementsMatch(t, []string{"1", "2", "3", "4"}, fillGap(t, "3", func(m *model, r *http.Request) {
		if r.Header.Get("X-Number") == "1" {
			return
		}
		if len(m.arrivals()) == 4 {
			all()
		}
		select {
		case <-together:
		case <-r.Context().Done():
		}
	}), "connections of their own may overtake")
	require.Equal(t, []string{"1", "2", "3", "4"}, fillGap(t, "1", func(*model, *http.Request) {}))
}

// fillGap sends 1, then 4 and 3, which wait for 2, and 2. It returns the order
// in which they were at the model server.
func fillGap(t *testing.T, slots string, at func(*model, *http.Request)) []string {
	s := newSigner(t)
	m := newModel(t, nil)
	m.respond = func(_ http.ResponseWriter, r *http.Request) { at(m, r) }
	u := start(t, settings(m, s).with(env{
		"USHER_REORDER_HOLD": "10s", "USHER_REORDER_MAX_HOLD": "10s", "USHER_MAX_CONCURRENCY": slots,
	})).ready()
	var clients sync.WaitGroup
	send := func(n int64) {
		clients.Go(func() { u.do("POST", "/generate", s.numbered(n).flat(""), http.Header{"X-Number": {itoa(int(n))}}) })
	}
	send(1)
	clients.Wait()
	send(4)
	send(3)
	require.Eventually(t, func() bool { return u.metric("usher_waiting") == 2 }, patience, time.Millisecond)
	send(2)
	clients.Wait()
	for _, n := range []string{"3", "4"} {
		line := u.waitLine(`"reqnum":` + n + `,`)
		require.Contains(t, line, `"outcome":"ok"`)
		require.NotContains(t, line, `"hold_ms":0,`, "%s was held", n)
	}
	return numbers(m)
}

// A number that never comes does not hold the others for longer than the hold.
func TestGapIsGivenUp(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	m := newModel(t, nil)
	u := start(t, settings(m, s).with(env{"USHER_REORDER_HOLD": "50ms"})).ready()
	require.Equal(t, 200, u.post("/generate", s.numbered(1).flat("")).status)
	require.Equal(t, 200, u.post("/generate", s.numbered(3).flat("")).status)
	require.EqualValues(t, 1, u.metric("usher_gaps_given_up_total"))
	require.Equal(t, 200, u.post("/generate", s.numbered(2).flat("")).status, "late, and still in the window")
	require.EqualValues(t, 1, u.metric("usher_late_total"))
}

func numbers(m *model) []string {
	var list []string
	for _, a := range m.arrivals() {
		list = append(list, a.header.Get("X-Number"))
	}
	return list
}

// Every answer tells where its time went.
func TestServerTiming(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	m := newModel(t, nil)
	u := start(t, settings(m, s).with(env{"USHER_REORDER_HOLD": "40ms"})).ready()
	timing := func(got answer) map[string]float64 {
		parts := map[string]float64{}
		for part := range strings.SplitSeq(got.header.Get("Server-Timing"), ", ") {
			name, dur, ok := strings.Cut(part, ";dur=")
			require.True(t, ok, "%q", part)
			ms, err := strconv.ParseFloat(dur, 64)
			require.NoError(t, err)
			parts[name] = ms
		}
		require.Len(t, parts, 4)
		return parts
	}
	first := timing(u.post("/generate", s.numbered(1).flat("")))
	require.Positive(t, first["verify"])
	require.Positive(t, first["upstream"])
	require.Zero(t, first["hold"])

	held := timing(u.post("/generate", s.numbered(3).flat("")))
	require.GreaterOrEqual(t, held["hold"], 40.0)
	require.Zero(t, held["queue"])

	refused := timing(u.post("/generate", []byte("{")))
	require.Zero(t, refused["verify"]+refused["upstream"])
	require.Equal(t, 1.0, u.metric("usher_held_total"))
	require.Zero(t, u.metric("usher_reordered_ratio"))
}
