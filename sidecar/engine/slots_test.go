package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/usher-sidecar/usher/config/preset"
)

// A sight is a look in a test's words, and the number of slots after it.
type sight struct {
	after            float64 // seconds since the last one
	running, waiting int     // there
	inFlight, queued int     // here
	want             int
}

func (s *slots) script(t *testing.T, sights []sight) {
	now := time.Duration(0)
	for i, x := range sights {
		now += time.Duration(x.after * float64(time.Second))
		before := s.n
		changed := s.step(look{Figures{Running: x.running, Waiting: x.waiting}, Load{x.inFlight, x.queued}, now})
		require.Equal(t, x.want, s.n, "look %d: %s", i, s.reason)
		require.Equal(t, before != s.n, changed, "look %d", i)
	}
}

func TestSlots(t *testing.T) {
	for name, sights := range map[string][]sight{
		"grow while all are taken, some wait here and none there": {
			{5, 3, 0, 3, 0, 8},    // free ones
			{5, 8, 0, 8, 0, 8},    // nobody waits
			{5, 7, 1, 8, 9, 8},    // one waits there
			{5, 8, 0, 8, 9, 16},   // now
			{1, 16, 0, 16, 9, 32}, // and on
		},
		"shrink to what runs when some wait there for two probes": {
			{5, 4, 4, 8, 9, 8}, {1, 4, 4, 8, 9, 4},
			{1, 4, 4, 8, 9, 4}, {1, 4, 3, 7, 9, 4}, {5, 4, 1, 5, 9, 4}, // those sent before are still there
			{5, 4, 0, 4, 9, 4}, {5, 4, 0, 4, 9, 4}, // as many as it can run
		},
		"nothing is sent here, and others crowd the server": {{5, 4, 4, 0, 0, 8}, {1, 4, 4, 0, 0, 4}},
		"one look is no queue":                              {{5, 4, 4, 8, 9, 8}, {1, 8, 0, 8, 9, 16}, {1, 12, 4, 16, 9, 16}, {1, 16, 0, 16, 9, 32}},
		"nor are two at once":                               {{5, 4, 4, 8, 9, 8}, {0.2, 4, 4, 8, 9, 8}, {0.9, 4, 4, 8, 9, 4}},
		"one request is several there":                      {{5, 16, 16, 8, 9, 8}, {1, 16, 16, 8, 9, 4}},
		"never below one":                                   {{5, 0, 8, 8, 9, 8}, {1, 0, 8, 8, 9, 1}},
		"a few between two steps are no queue":              {{5, 8, 0, 8, 9, 16}, {1, 16, 0, 16, 9, 32}, {1, 31, 1, 32, 9, 64}, {1, 61, 3, 64, 9, 128}},
		"a try after two minutes, and in vain": {
			{5, 4, 4, 8, 9, 8}, {1, 4, 4, 8, 9, 4}, {119, 4, 0, 4, 9, 4}, {1, 4, 0, 4, 9, 5},
			{1, 4, 1, 5, 9, 4},                                              // it runs no more
			{200, 4, 0, 4, 9, 4},                                            // longer than the first time
			{41, 4, 0, 4, 9, 5}, {0.5, 5, 0, 5, 9, 5}, {0.5, 5, 0, 5, 9, 5}, // it does
			{1, 5, 0, 5, 9, 10}, // then there may be much more
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSlots()
			s.script(t, sights)
		})
	}
}

func TestStatedSlots(t *testing.T) {
	s := newSlots()
	require.True(t, s.state(4))
	require.False(t, s.state(4))
	require.Contains(t, s.reason, "states 4")
	s.script(t, []sight{{5, 4, 0, 4, 9, 4}, {300, 4, 0, 4, 9, 4}, {5, 2, 2, 4, 9, 4}, {1, 2, 2, 4, 9, 2}, {200, 2, 0, 2, 9, 3}, {1, 3, 0, 3, 9, 3}, {1, 3, 0, 3, 9, 4}})
	require.False(t, s.unknown("why"))
	require.True(t, s.state(1<<20))
	require.Equal(t, preset.MaxSlots, s.n)
	require.True(t, s.state(-1))
	require.Equal(t, preset.MinSlots, s.n)
}

func TestSlotsOfAServerThatTellsNothing(t *testing.T) {
	s := newSlots()
	require.True(t, s.unknown("/metrics answered 404"))
	require.Equal(t, preset.DefaultSlots, s.n)
	require.Contains(t, s.reason, "404")
	require.False(t, s.unknown("again"))
}

// Whatever a server reports, the slots stay within their bounds, and a look changes
// them only as the rules say.
func TestSlotsKeepTheRule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, now, lone := newSlots(), time.Duration(0), 0
		for range rapid.IntRange(1, 200).Draw(t, "looks") {
			now += time.Duration(rapid.IntRange(0, 200_000).Draw(t, "ms")) * time.Millisecond
			l := look{
				Figures{Running: rapid.IntRange(0, 2000).Draw(t, "running"), Waiting: rapid.SampledFrom([]int{0, 0, 1, 5, 3000}).Draw(t, "waiting")},
				Load{rapid.IntRange(0, 1500).Draw(t, "in flight"), rapid.SampledFrom([]int{0, 3}).Draw(t, "queued")}, now,
			}
			before := s.n
			s.step(l)
			require.GreaterOrEqual(t, s.n, preset.MinSlots)
			require.LessOrEqual(t, s.n, preset.MaxSlots)
			if l.Waiting == 0 {
				lone = 0
			} else {
				lone++
			}
			if s.n > before {
				require.True(t, l.InFlight >= before && l.Queued > 0 && l.Waiting <= l.Running/share)
				require.LessOrEqual(t, s.n, 2*before)
			}
			if s.n < before && !(l.Waiting <= l.Running/share) {
				require.True(t, lone >= crowdedLooks || l.InFlight >= before)
			}
		}
	})
}
