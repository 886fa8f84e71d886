package reorder

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A pupil is a learner that is told of one series.
type pupil struct {
	*learner
	series lateness
}

func newPupil(target float64, longest time.Duration) *pupil {
	return &pupil{learner: newLearner(target, longest)}
}

func teach(p *pupil, list []arrival) {
	for _, a := range list {
		p.arrived(&p.series, a.number, a.at)
	}
}

// quantile is the exact one of the lateness of all that came.
func quantile(list []arrival, q float64) time.Duration {
	var late []time.Duration
	var numbers lateness
	for _, a := range list {
		if d, ok := numbers.arrived(a.number, a.at); ok {
			late = append(late, d)
		}
	}
	slices.Sort(late)
	return late[int(q*float64(len(late)))]
}

func TestLearnerSettles(t *testing.T) {
	for _, path := range []string{"LAN", "WAN"} {
		list := scenario{rate: 200, path: path, loss: 0.02}.arrivals(20_000)
		l := newPupil(0.01, 250*ms)
		assert.Zero(t, l.hold(0))
		teach(l, list[:300])
		assert.GreaterOrEqual(t, l.hold(0), quantile(list, 0.97), path)
		assert.LessOrEqual(t, l.hold(0), quantile(list, 0.999), path)
	}
}

func TestLearnerFollowsAChange(t *testing.T) {
	lan := scenario{rate: 200, path: "LAN"}.arrivals(2000)
	wan := scenario{rate: 200, path: "WAN"}.arrivals(2000)
	after := func(list []arrival) []arrival {
		list = slices.Clone(list)
		for i := range list {
			list[i].number += 10_000
			list[i].at += time.Minute
		}
		return list
	}
	l := newPupil(0.01, 250*ms)
	teach(l, lan)
	teach(l, after(wan)[:500])
	assert.GreaterOrEqual(t, l.hold(0), quantile(wan, 0.97))
	assert.LessOrEqual(t, l.hold(0), quantile(wan, 0.999))

	l = newPupil(0.01, 250*ms)
	teach(l, wan)
	teach(l, after(lan)[:learnerWindow+100])
	assert.LessOrEqual(t, l.hold(0), quantile(lan, 0.999)*11/10)
}

func TestLearnerIgnoresOutliers(t *testing.T) {
	list := scenario{rate: 200, path: "LAN"}.arrivals(2000)
	calm, upset := newPupil(0.01, 250*ms), newPupil(0.01, 250*ms)
	teach(calm, list)
	r := rand.New(rand.NewPCG(1, 1))
	for range 3 { // a few that are later than any hold
		list[500+r.IntN(1400)].at += 20 * time.Second
	}
	slices.SortStableFunc(list, func(a, b arrival) int { return int(a.at - b.at) })
	teach(upset, list)
	assert.Less(t, upset.hold(0), 2*calm.hold(0))
}

// Nobody is held for numbers that no hold can cover.
func TestLearnerStaysBelowTheMaximum(t *testing.T) {
	l := newPupil(0.01, 100*ms)
	teach(l, scenario{rate: 200, path: "bimodal"}.arrivals(2000))
	assert.LessOrEqual(t, l.hold(0), 5*ms)

	l = newPupil(0.01, 50*ms)
	teach(l, scenario{rate: 200, path: "WAN"}.arrivals(2000))
	assert.LessOrEqual(t, l.hold(0), 50*ms)
	assert.Greater(t, l.hold(0), 40*ms)
}

func TestLatenessBuckets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "lateness"))
		b := latenessBucket(d)
		require.GreaterOrEqual(t, latenessEdges[b], d)
		if b > 1 {
			require.Less(t, latenessEdges[b-1], d+2)
		}
	})
	require.Equal(t, latenessBuckets-1, latenessBucket(1<<62))
}

// A lateness agrees with a list of all numbers that came, as long as there are few
// gaps; with more it forgets some, but never invents any.
func TestLatenessIsTheList(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 0))
		var l lateness
		came := map[int64]time.Duration{}
		spread := []int64{3, 30, 3000}[seed%3]
		now, highest, forgot := time.Duration(0), int64(5000), false
		l.arrived(highest, now)
		for range 1000 {
			now += ms
			n := max(0, highest-spread+r.Int64N(spread+spread/2+2))
			late, ok := l.arrived(n, now)
			forgot = forgot || len(l.gaps) == gapsKept
			if _, again := came[n]; again || n <= 5000 {
				require.False(t, ok, "seed %d", seed)
				continue
			}
			highest = max(highest, n)
			want := time.Duration(0)
			for m, at := range came {
				if m > n {
					want = max(want, now-at)
				}
			}
			came[n] = now
			require.True(t, ok || forgot, "seed %d", seed)
			if ok {
				require.Equal(t, want, late, "seed %d", seed)
			}
			require.LessOrEqual(t, len(l.gaps), gapsKept)
		}
	}
}

func BenchmarkLearner(b *testing.B) {
	list := scenario{rate: 2000, path: "WAN", loss: 0.1}.arrivals(100_000)
	l := newPupil(0.01, 250*ms)
	teach(l, list)
	b.ReportAllocs()
	i, turn := 0, arrival{}
	for b.Loop() {
		if i++; i == len(list) {
			i, turn.number, turn.at = 0, turn.number+200_000, turn.at+time.Hour
		}
		l.arrived(&l.series, list[i].number+turn.number, list[i].at+turn.at)
		_ = l.hold(0)
	}
}
