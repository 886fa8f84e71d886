package main

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"text/tabwriter"
	"time"
)

// maxFailures is how many failures are listed.
const maxFailures = 10

// maxSamples is how many of the latest latencies are kept.
const maxSamples = 1 << 17

// An outcome is how one request went.
type outcome struct {
	kind      *kind
	err       error         // nil: answered correctly
	again     int           // how many more tickets were needed
	firstByte time.Duration // from when it was due
	total     time.Duration
}

// A tally counts outcomes by kind. The latencies are of good requests only.
type tally struct {
	mu        sync.Mutex
	kinds     map[*kind]*count
	failures  []string
	again     int
	firstByte samples
	total     samples
}

// A count is how many requests were answered as expected, and how many were not.
type count struct{ right, wrong int }

func (t *tally) add(o outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kinds == nil {
		t.kinds = make(map[*kind]*count)
	}
	n := t.kinds[o.kind]
	if n == nil {
		n = &count{}
		t.kinds[o.kind] = n
	}
	t.again += o.again
	if o.err != nil {
		n.wrong++
		if len(t.failures) < maxFailures {
			t.failures = append(t.failures, o.kind.name+": "+o.err.Error())
		}
		return
	}
	n.right++
	if o.kind == good {
		t.firstByte.add(o.firstByte)
		t.total.add(o.total)
	}
}

// counts returns the count of good requests and the sum of all others.
func (t *tally) counts() (goodOnes, badOnes count) {
	for k, n := range t.kinds {
		sum := &badOnes
		if k == good {
			sum = &goodOnes
		}
		sum.right += n.right
		sum.wrong += n.wrong
	}
	return goodOnes, badOnes
}

// line returns the tally in one line.
func (t *tally) line() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	g, b := t.counts()
	s := fmt.Sprintf("%d answered", g.right)
	if b != (count{}) {
		s += fmt.Sprintf(", %d misbehaved and were answered as they should", b.right)
	}
	if t.again > 0 {
		s += fmt.Sprintf(", %d sent elsewhere", t.again)
	}
	return s + fmt.Sprintf(", %d wrong; first byte p50 %s p99 %s; whole answer p50 %s",
		g.wrong+b.wrong, t.firstByte.quantile(0.5), t.firstByte.quantile(0.99), t.total.quantile(0.5))
}

// report writes the closing summary. It returns an error if requests were not answered
// correctly or, if some must have been sent, none was answered.
func (t *tally) report(out io.Writer, some bool) error {
	fmt.Fprintln(out, t.line())
	t.mu.Lock()
	defer t.mu.Unlock()
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nkind\tsent\tas expected\totherwise\texpected is")
	for _, k := range append([]*kind{good}, mischief...) {
		if n := t.kinds[k]; n != nil {
			fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%s\n", k.name, n.right+n.wrong, n.right, n.wrong, k.expect)
		}
	}
	_ = table.Flush()
	for _, failure := range t.failures {
		fmt.Fprintln(out, "  otherwise:", failure)
	}
	g, b := t.counts()
	switch wrong := g.wrong + b.wrong; {
	case wrong > 0:
		return fmt.Errorf("%d of %d requests were not answered as they should be", wrong, wrong+g.right+b.right)
	case some && g.right+b.right == 0:
		return fmt.Errorf("no request was answered")
	}
	return nil
}

// reported returns an error if fewer requests were reported to the autoscaler as
// successful than were answered.
func (t *tally) reported(successes int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if g, _ := t.counts(); successes < g.right {
		return fmt.Errorf("%d good requests were answered, but only %d reported", g.right, successes)
	}
	return nil
}

// samples are the latest latencies.
type samples struct {
	list []time.Duration
	next int // index to replace, once the list is full
}

func (s *samples) add(d time.Duration) {
	if len(s.list) < maxSamples {
		s.list = append(s.list, d)
		return
	}
	s.list[s.next] = d
	s.next = (s.next + 1) % maxSamples
}

// quantile returns the nearest-rank quantile, rounded for people; 0 if there are no
// samples.
func (s *samples) quantile(q float64) time.Duration {
	if len(s.list) == 0 {
		return 0
	}
	sorted := slices.Clone(s.list)
	slices.Sort(sorted)
	d := sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
	if d > 10*time.Millisecond {
		return d.Round(time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}
