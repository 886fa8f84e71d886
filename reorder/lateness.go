package reorder

import (
	"sort"
	"time"
)

// gapsKept is how many runs of missing numbers are remembered. Beyond that the
// oldest is forgotten: its numbers are unlikely to come.
const gapsKept = 512

// A lateness measures how late numbers arrive. A number is overtaken if a higher
// one arrives before it; its lateness is the time from the first such arrival to
// its own, or 0 (RFC 5236, section 4.1, measures this by count, RFC 4737, section
// 4.3, by time). With a hold at least that long the number is admitted in order.
// The measure does not depend on the hold in force, and treats numbers that came
// too late like all others. Numbers that never arrive have no lateness. Memory is
// fixed; a call takes O(log gapsKept), and at worst moves gapsKept entries.
type lateness struct {
	started bool
	highest int64
	gaps    []gap // ascending
}

// A gap is a run of missing numbers that were all overtaken at the same time.
type gap struct {
	from, to int64 // inclusive
	since    time.Duration
}

// arrived records number n and returns how late it was. ok is false for a repeated
// number, the first one, and one whose gap was forgotten.
func (l *lateness) arrived(n int64, now time.Duration) (late time.Duration, ok bool) {
	switch {
	case !l.started:
		l.started, l.highest = true, n
		return 0, false
	case n > l.highest:
		if n > l.highest+1 {
			l.open(gap{l.highest + 1, n - 1, now})
		}
		l.highest = n
		return 0, true
	}
	since, ok := l.fill(n)
	return now - since, ok
}

func (l *lateness) restart() { l.gaps, l.started = l.gaps[:0], false }

func (l *lateness) open(g gap) {
	if l.gaps == nil {
		l.gaps = make([]gap, 0, gapsKept)
	}
	if len(l.gaps) == gapsKept {
		l.remove(0)
	}
	l.gaps = append(l.gaps, g)
}

// fill removes n from its gap and returns since when it was missing.
func (l *lateness) fill(n int64) (since time.Duration, ok bool) {
	i := sort.Search(len(l.gaps), func(i int) bool { return l.gaps[i].to >= n })
	if i == len(l.gaps) || l.gaps[i].from > n {
		return 0, false
	}
	g := &l.gaps[i]
	since = g.since
	switch {
	case g.from == g.to:
		l.remove(i)
	case g.from == n:
		g.from++
	case g.to == n:
		g.to--
	default:
		upper := gap{n + 1, g.to, g.since}
		g.to = n - 1
		if len(l.gaps) == gapsKept {
			break // the upper part is forgotten
		}
		l.gaps = append(l.gaps, gap{})
		copy(l.gaps[i+2:], l.gaps[i+1:])
		l.gaps[i+1] = upper
	}
	return since, true
}

func (l *lateness) remove(i int) { l.gaps = append(l.gaps[:i], l.gaps[i+1:]...) }
