package main

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// maxFailures is how many failures are told one by one.
const maxFailures = 5

// A tally counts outcomes. It keeps every latency of a run: runs are short.
type tally struct {
	mu        sync.Mutex
	good      int
	bad       int
	failures  []string
	firstByte []time.Duration
	total     []time.Duration
}

func (t *tally) add(o outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o.err != nil {
		t.bad++
		if len(t.failures) < maxFailures {
			t.failures = append(t.failures, o.err.Error())
		}
		return
	}
	t.good++
	t.firstByte = append(t.firstByte, o.firstByte)
	t.total = append(t.total, o.total)
}

// A summary is a tally at one moment.
type summary struct {
	good, bad          int
	failures           []string
	first50, first99   time.Duration
	total50, totalLast time.Duration
}

func (t *tally) summary() summary {
	t.mu.Lock()
	defer t.mu.Unlock()
	return summary{
		good: t.good, bad: t.bad, failures: slices.Clone(t.failures),
		first50: quantile(t.firstByte, 0.5), first99: quantile(t.firstByte, 0.99),
		total50: quantile(t.total, 0.5), totalLast: quantile(t.total, 1),
	}
}

// quantile is the nearest-rank quantile of samples; 0 for none.
func quantile(samples []time.Duration, q float64) time.Duration {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.Clone(samples)
	slices.Sort(sorted)
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func (s summary) String() string {
	return fmt.Sprintf("%d answered, %d wrong; first byte p50 %s p99 %s; whole answer p50 %s",
		s.good, s.bad, round(s.first50), round(s.first99), round(s.total50))
}

func round(d time.Duration) time.Duration {
	if d > 10*time.Millisecond {
		return d.Round(time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}
