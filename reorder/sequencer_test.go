package reorder

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// refusedFirst is the order in which a sequencer reports: a newcomer's refusal is
// the result of the call, the others follow.
func refusedFirst(name string, words []string) []string {
	if i := slices.Index(words, name+"!"); i > 0 {
		copy(words[1:i+1], words[:i])
		words[0] = name + "!"
	}
	return words
}

// check checks the sequencer's invariants.
func check(t *rapid.T, s *sequencer, m *model) {
	require.Equal(t, m.inFlight, s.slots.taken)
	require.Equal(t, m.last.expected, s.roll.last.numbers.expected)
	require.Equal(t, m.front, s.roll.front)
	require.Equal(t, len(m.list), s.queue.len())
	require.Equal(t, m.bytes(), s.queue.bytes)
	require.LessOrEqual(t, s.queue.len(), s.queue.capacity)
	require.LessOrEqual(t, s.queue.bytes, s.queue.maxBytes)
	require.Equal(t, m.cfg.Slots, s.slots.limit)
	if s.slots.limit > 0 && !m.shrunk {
		require.LessOrEqual(t, s.slots.taken, s.slots.limit)
	}
	n, due := 0, map[*series]int{}
	for w := s.queue.arrivals.first; w != nil; w = w.next {
		n++
		require.Greater(t, w.deadline, s.now, "overdue")
		if w.due {
			due[w.series]++
		}
		if s.slots.free() {
			require.False(t, w.due || w.request.Number <= w.series.numbers.expected, "a slot is free, it may go and does not")
		}
	}
	require.Equal(t, s.queue.len(), n)
	held, missing := n, uint64(0)
	for _, in := range s.roll.list {
		require.Equal(t, due[in], in.due)
		held -= in.due
		n -= in.lowest.len()
		missing += in.numbers.missing
	}
	require.Zero(t, n)
	require.Equal(t, held, s.queue.holds.len())
	st := s.snapshot(s.now)
	require.LessOrEqual(t, st.GapsFilled+st.GapsGivenUp, st.GapsOpened)
	require.Equal(t, st.GapsOpened-st.GapsFilled-st.GapsGivenUp, missing)
}

// TestSequencerIsTheModel makes the same random calls to both and requires the same
// results: who goes, who is refused, who times out, in the same order.
func TestSequencerIsTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{
			Slots:    rapid.IntRange(0, 3).Draw(t, "slots"),
			Capacity: rapid.IntRange(0, 6).Draw(t, "capacity"),
			Bytes:    rapid.Int64Range(0, 30).Draw(t, "bytes"),
			Timeout:  time.Duration(rapid.IntRange(1, 60).Draw(t, "timeout")) * ms,
			Hold:     time.Duration(rapid.IntRange(0, 30).Draw(t, "hold")) * ms,
		}
		cfg.Hold = min(cfg.Hold, cfg.Timeout)
		b, m := newBench(t, cfg), newModel(cfg)
		running, settled, names := 0, map[string]int{}, 0
		all := []Series{1, 2, 3}[:rapid.IntRange(1, 3).Draw(t, "series")]
		number := map[Series]int64{1: 20, 2: 1000, 3: 1}
		some := rapid.SampledFrom(all)
		next := func(t *rapid.T, in Series) int64 {
			n := max(0, number[in]+rapid.Int64Range(-4, 5).Draw(t, "ahead"))
			number[in] = max(number[in], n)
			return n
		}
		took := func(got, want []string) {
			require.Equal(t, want, got)
			for _, name := range got {
				if last := name[len(name)-1]; last == '!' || last == '?' {
					name = name[:len(name)-1]
				} else {
					running++
				}
				settled[name]++
				require.Equal(t, 1, settled[name], "settled twice")
				delete(b.in, name)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"arrive": func(t *rapid.T) {
				names++
				r := Request{Series: some.Draw(t, "in"), Bytes: rapid.Int64Range(0, 12).Draw(t, "size")}
				r.Number = next(t, r.Series)
				r.Unordered = rapid.IntRange(0, 9).Draw(t, "unordered") == 0
				name := fmt.Sprintf("%d#%d", r.Number, names)
				took(b.arrive(name, r), refusedFirst(name, m.arrive(name, r, b.now)))
			},
			"wait": func(t *rapid.T) {
				d := time.Duration(rapid.IntRange(0, 25).Draw(t, "ms")) * ms
				for end := b.now + d; ; {
					at := min(b.q.wake(), end)
					b.now = max(b.now, at)
					b.q.advance(b.now)
					took(b.taken(), m.advance(b.now))
					if at == end {
						return
					}
				}
			},
			"late timer": func(t *rapid.T) {
				b.now += time.Duration(rapid.IntRange(0, 25).Draw(t, "ms")) * ms
				b.q.advance(b.now)
				took(b.taken(), m.advance(b.now))
			},
			"release": func(t *rapid.T) {
				if running == 0 {
					t.Skip("nobody runs")
				}
				running--
				b.q.release(b.now)
				took(b.taken(), m.release(b.now))
			},
			"leave": func(t *rapid.T) {
				if len(b.in) == 0 {
					t.Skip("nobody waits")
				}
				name := rapid.SampledFrom(slices.Sorted(maps.Keys(b.in))).Draw(t, "who")
				require.True(t, b.q.leave(b.in[name], b.now))
				delete(b.in, name)
				took(b.taken(), m.leave(name, b.now))
			},
			"more": func(t *rapid.T) {
				if len(b.in) == 0 {
					t.Skip("nobody waits")
				}
				name := rapid.SampledFrom(slices.Sorted(maps.Keys(b.in))).Draw(t, "who")
				n := rapid.Int64Range(0, 12).Draw(t, "bytes")
				require.Equal(t, m.more(name, n), b.q.queue.grow(b.in[name], n))
			},
			"resize": func(t *rapid.T) {
				slots := rapid.IntRange(0, 4).Draw(t, "new slots")
				m.shrunk = m.shrunk || slots > 0
				b.q.resize(slots, b.now)
				took(b.taken(), m.resize(slots, b.now))
			},
			"pass over": func(t *rapid.T) {
				in := some.Draw(t, "in")
				n := next(t, in)
				b.q.passOver(in, n, b.now)
				took(b.taken(), m.passOver(in, n, b.now))
			},
			"restart": func(t *rapid.T) {
				if rapid.IntRange(0, 4).Draw(t, "really") > 0 {
					t.Skip("four times of five")
				}
				in := some.Draw(t, "in")
				number[in] = 5
				b.q.restart(in, b.now)
				took(b.taken(), m.restart(in, b.now))
			},
			"": func(t *rapid.T) { check(t, b.q, m) },
		})
		// Whatever was left behind: given time, all leave.
		for range 2 * (running + len(b.in) + 1) {
			if running > 0 {
				running--
				b.q.release(b.now)
				took(b.taken(), m.release(b.now))
			} else if at := b.q.wake(); at != never {
				b.now = max(b.now, at)
				b.q.advance(b.now)
				took(b.taken(), m.advance(b.now))
			}
		}
		require.Empty(t, b.in)
		require.Equal(t, names-len(settled), int(b.q.counters.Cancelled))
	})
}
