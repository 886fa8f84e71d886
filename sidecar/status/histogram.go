package status

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Log-linear buckets as in HDR histograms: from 1 µs on, eight for each power of two,
// so that a quantile is off by at most a sixteenth.
const (
	steps   = 8
	octaves = 33 // up to about an hour and a half
	buckets = steps * octaves
)

// A Histogram counts durations. Observe is one atomic addition, without locking or
// allocating. The zero value is empty; it is safe for concurrent use.
type Histogram struct {
	counts [buckets]atomic.Uint64
}

// Observe counts one duration; a negative one counts as 0.
func (h *Histogram) Observe(d time.Duration) { h.counts[bucket(d)].Add(1) }

// bucket returns d's bucket: below 8 µs there is one for each microsecond, then eight
// for each power of two.
func bucket(d time.Duration) int {
	micros := uint64(max(d, 0)) / uint64(time.Microsecond)
	if micros < steps {
		return int(micros)
	}
	shift := bits.Len64(micros) - 4
	return min(steps*(shift+1)+int(micros>>shift)-steps, buckets-1)
}

// middle returns the middle of a bucket, in seconds.
func middle(b int) float64 {
	if b < steps {
		return (float64(b) + 0.5) * 1e-6
	}
	shift := b/steps - 1
	low := uint64(b%steps+steps) << shift
	return (float64(low) + float64(uint64(1)<<shift)/2) * 1e-6
}

// counts is the content of a Histogram at one moment.
type counts [buckets]uint64

func (h *Histogram) read(c *counts) {
	for i := range c {
		c[i] = h.counts[i].Load()
	}
}

// Quantiles are quantiles over some time, in seconds; 0 if nothing was counted.
type Quantiles struct {
	Count uint64  `json:"count"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
}

// between returns the quantiles of what was counted between two readings.
func between(from, to *counts) Quantiles {
	var q Quantiles
	for i := range to {
		q.Count += to[i] - from[i]
	}
	if q.Count == 0 {
		return q
	}
	at := func(share float64) float64 {
		rank, seen := uint64(share*float64(q.Count-1)), uint64(0)
		for i := range to {
			if seen += to[i] - from[i]; seen > rank {
				return middle(i)
			}
		}
		return 0
	}
	q.P50, q.P99 = at(0.5), at(0.99)
	return q
}
