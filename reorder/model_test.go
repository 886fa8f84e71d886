package reorder

import (
	"maps"
	"slices"
	"time"
)

// A model is the buffer as one would explain it: a list that is sorted again for
// every question. It has no heaps, no counters that could drift, and takes linear
// time for everything.
type model struct {
	cfg      Config
	series   map[Series]*numbering
	last     *numbering // that a number came in
	front    int64      // the highest rank that ran; -1: none
	inFlight int
	count    int64
	list     []*modelled
	shrunk   bool // more may run than there are slots
}

// A numbering is a series.
type numbering struct {
	expected int64
	fresh    bool
	came     map[int64]bool
	shift    int64 // what is added to a number for its rank
	placed   bool
}

type modelled struct {
	name     string
	in       *numbering
	rank     int64
	count    int64
	bytes    int64
	numbered bool
	number   int64
	goesAt   time.Duration // when its hold is over
	leavesAt time.Duration
}

func newModel(cfg Config) *model {
	return &model{cfg: cfg, series: map[Series]*numbering{}, last: newNumbering(), front: -1}
}

func newNumbering() *numbering { return &numbering{fresh: true, came: map[int64]bool{}} }

func (n *numbering) rank(number int64) int64 { return max(0, number+n.shift) }

// begun returns a series, the first of which was there before it had a name.
func (m *model) begun(name Series) *numbering {
	if m.series[name] == nil {
		n := newNumbering()
		if len(m.series) == 0 {
			n = m.last
		}
		m.series[name] = n
	}
	m.last = m.series[name]
	return m.last
}

// arrived records that a number came. The first of a series goes with whom goes now, as
// does the next of one that waited for nothing while others went.
func (m *model) arrived(name Series, number int64) *numbering {
	n := m.begun(name)
	if n.fresh {
		n.fresh, n.expected = false, number
	}
	n.came[number] = true
	waits := slices.ContainsFunc(m.list, func(w *modelled) bool { return w.in == n })
	switch {
	case !n.placed && m.front < 0:
		m.front = number
	case !n.placed, !waits && number >= n.expected && n.rank(number) < m.front:
		n.shift = m.front - number
	}
	n.placed = true
	return n
}

// of returns who waits in a series, the lowest first.
func (m *model) of(n *numbering) []*modelled {
	m.sort()
	return slices.DeleteFunc(slices.Clone(m.list), func(w *modelled) bool { return w.in != n })
}

func (m *model) free() bool { return m.cfg.Slots == 0 || m.inFlight < m.cfg.Slots }

func (m *model) sort() {
	slices.SortFunc(m.list, func(a, b *modelled) int {
		if a.rank != b.rank {
			return compare(a.rank, b.rank)
		}
		return compare(a.count, b.count)
	})
}

func compare(a, b int64) int {
	if a < b {
		return -1
	}
	return 1
}

func (m *model) bytes() (sum int64) {
	for _, w := range m.list {
		sum += w.bytes
	}
	return sum
}

func (m *model) drop(w *modelled) {
	m.list = slices.DeleteFunc(m.list, func(o *modelled) bool { return o == w })
}

// run takes a slot: expected moves beyond the number.
func (m *model) run(w *modelled) {
	m.inFlight++
	if !w.numbered {
		return
	}
	m.front = max(m.front, w.in.rank(w.number))
	if w.number >= w.in.expected {
		w.in.expected = w.number + 1
	}
}

// isExpected reports whether w is not above the expected number of its series.
func (w *modelled) isExpected() bool {
	if !w.numbered {
		return w.rank <= w.in.rank(w.in.expected)
	}
	return w.number <= w.in.expected
}

// skip passes over numbers that came and have left.
func (m *model) skip(n *numbering) {
	for list := m.of(n); n.came[n.expected] && !(len(list) > 0 && list[0].isExpected()); {
		n.expected++
	}
}

// head returns who goes next: of those that are the lowest of their series and may go,
// the lowest.
func (m *model) head(now time.Duration) (head *modelled) {
	all := slices.Collect(maps.Values(m.series))
	if len(all) == 0 {
		all = append(all, m.last)
	}
	for _, n := range all {
		m.skip(n)
		list := m.of(n)
		due := slices.ContainsFunc(list, func(w *modelled) bool { return w.goesAt <= now })
		if len(list) > 0 && (due || list[0].isExpected()) &&
			(head == nil || list[0].rank < head.rank || list[0].rank == head.rank && list[0].count < head.count) {
			head = list[0]
		}
	}
	return head
}

// settle admits all that may go.
func (m *model) settle(now time.Duration) (out []string) {
	for {
		head := m.head(now)
		if head == nil || !m.free() {
			return out
		}
		m.drop(head)
		m.run(head)
		out = append(out, head.name)
	}
}

func (m *model) advance(now time.Duration) (out []string) {
	out = m.settle(now)
	byAge := slices.Clone(m.list)
	slices.SortFunc(byAge, func(a, b *modelled) int { return compare(a.count, b.count) })
	for _, w := range byAge {
		if w.leavesAt <= now {
			m.drop(w)
			out = append(out, w.name+"?")
		}
	}
	return append(out, m.settle(now)...)
}

func (m *model) arrive(name string, r Request, now time.Duration) (out []string) {
	out = m.advance(now)
	w := &modelled{name: name, bytes: r.Bytes, numbered: !r.Unordered, number: r.Number, goesAt: now, leavesAt: now + m.cfg.Timeout}
	if w.numbered {
		m.arrived(r.Series, w.number)
	}
	w.in = m.last
	held := w.numbered && w.number > w.in.expected && m.cfg.Capacity > 0 && w.bytes <= m.cfg.Bytes && m.cfg.Hold > 0
	if held && m.free() {
		w.goesAt = now + m.cfg.Hold
	}
	if m.free() && !held {
		// Those of its series with a lower number that wait go before it.
		for list := m.of(w.in); w.numbered && m.free() && len(list) > 0 && list[0].rank <= w.in.rank(w.number); list = list[1:] {
			m.drop(list[0])
			m.run(list[0])
			out = append(out, list[0].name)
		}
		if m.free() {
			m.run(w)
			return append(append(out, name), m.settle(now)...)
		}
	}
	m.sort()
	w.rank = w.in.rank(w.number)
	if !w.numbered {
		w.rank = w.in.rank(w.in.expected)
		if len(m.list) > 0 {
			w.rank = max(w.rank, m.list[len(m.list)-1].rank)
		}
	}
	// Who would have to go for it to fit?
	victims, list := []*modelled(nil), slices.Clone(m.list)
	room := func() bool {
		sum := w.bytes
		for _, o := range list {
			sum += o.bytes
		}
		return len(list) < m.cfg.Capacity && sum <= m.cfg.Bytes
	}
	for !room() && len(list) > 0 && list[len(list)-1].rank > w.rank {
		victims = append(victims, list[len(list)-1])
		list = list[:len(list)-1]
	}
	if !room() {
		return append(append(out, name+"!"), m.settle(now)...)
	}
	for _, v := range victims {
		m.drop(v)
		out = append(out, v.name+"!")
	}
	m.count++
	w.count = m.count
	m.list = append(m.list, w)
	return append(out, m.settle(now)...)
}

func (m *model) release(now time.Duration) []string {
	out := m.advance(now)
	m.inFlight--
	return append(out, m.settle(now)...)
}

func (m *model) leave(name string, now time.Duration) []string {
	out := m.advance(now)
	m.list = slices.DeleteFunc(m.list, func(w *modelled) bool { return w.name == name })
	return append(out, m.settle(now)...)
}

// more has a request that waits grow, if what it has then still fits twice.
func (m *model) more(name string, n int64) bool {
	i := slices.IndexFunc(m.list, func(w *modelled) bool { return w.name == name })
	if m.bytes()+m.list[i].bytes+2*n > m.cfg.Bytes {
		return false
	}
	m.list[i].bytes += n
	return true
}

func (m *model) resize(slots int, now time.Duration) []string {
	out := m.advance(now)
	m.cfg.Slots = slots
	return append(out, m.settle(now)...)
}

func (m *model) passOver(name Series, n int64, now time.Duration) []string {
	out := m.advance(now)
	m.arrived(name, n)
	return append(out, m.settle(now)...)
}

func (m *model) restart(name Series, now time.Duration) []string {
	out := m.advance(now)
	n := m.begun(name)
	*n = *newNumbering()
	if len(m.series) == 1 {
		m.front = -1
	}
	m.sort()
	for i, w := range m.list {
		w.in, w.rank, w.numbered, w.goesAt = n, int64(i-len(m.list)), false, now
	}
	return append(out, m.settle(now)...)
}
