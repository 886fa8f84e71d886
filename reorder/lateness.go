package reorder

import (
	"sort"
	"time"
)

// gapsKept is how many runs of missing numbers are remembered. With more, the
// oldest is forgotten: its numbers will hardly come any more.
const gapsKept = 512

// A lateness measures how late numbers come. A number is overtaken when a higher
// one comes before it; its lateness is the time from the first such arrival to
// its own, 0 if there was none (RFC 5236, section 4.1, measures this by count,
// and RFC 4737, section 4.3, by time). With a hold of at least that it is
// admitted in order. It does not depend on the hold in force, and takes a number
// that came too late to be in order like any other. Numbers that never come have
// none. Memory is fixed; a call takes O(log gapsKept), and a move of as many
// entries at worst.
type lateness struct {
	started bool
	highest int64
	gaps    []gap // ascending
}

// A gap is a run of missing numbers, all of which were overtaken at one moment.
type gap struct {
	from, to int64 // to is the last of them
	since    time.Duration
}

// arrived takes number n in and returns how late it was; false for one that came
// before, is the first, or whose gap is forgotten.
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

// fill takes n out of its gap and tells since when it was missing.
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
