package sidecar

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/usher-sidecar/usher/reorder"
)

// A comeback estimates when a refused request should be retried: the time in which
// the queue empties at the rate at which slots became free over the last seconds.
// It samples once a second, so that requests that pass cost nothing. It is safe for
// concurrent use.
type comeback struct {
	stats func() reorder.Stats

	mu    sync.Mutex
	marks [comebackSpan]mark // a ring, a second apart
	next  int
	at    time.Time // when seconds was worked out
	wait  int       // in seconds
}

// A mark is how many slots had become free at a moment.
type mark struct {
	at    time.Time
	freed uint64
}

const (
	comebackSpan  = 10 // seconds that the rate is taken over
	comebackFresh = 100 * time.Millisecond
	maxRetryAfter = 30 // seconds
)

func newComeback(stats func() reorder.Stats, now time.Time) *comeback {
	c := &comeback{stats: stats}
	for i := range c.marks {
		c.marks[i] = mark{at: now}
	}
	return c
}

// run counts until ctx ends.
func (c *comeback) run(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			freed := freedSlots(c.stats())
			c.mu.Lock()
			c.marks[c.next] = mark{now, freed}
			c.next = (c.next + 1) % len(c.marks)
			c.mu.Unlock()
		}
	}
}

// seconds is the value of a Retry-After (RFC 9110 section 10.2.3), spread so
// that those refused together do not come back together.
func (c *comeback) seconds(now time.Time) int {
	c.mu.Lock()
	if now.Sub(c.at) > comebackFresh {
		oldest := c.marks[c.next]
		c.at, c.wait = now, estimate(c.stats(), oldest.freed, now.Sub(oldest.at))
	}
	wait := c.wait
	c.mu.Unlock()
	return spread(wait, rand.IntN)
}

// freedSlots returns how many slots were given back so far.
func freedSlots(s reorder.Stats) uint64 { return s.Admitted - uint64(s.InFlight) }

// estimate returns the seconds until the queue is empty, from 1 to maxRetryAfter.
// before is how many slots had been given back a span ago.
func estimate(s reorder.Stats, before uint64, span time.Duration) int {
	if s.Waiting == 0 || s.Slots == 0 || s.InFlight < s.Slots {
		return 1 // what refused it was not the queue, or it moves on at once
	}
	freed := freedSlots(s) - before
	if freed == 0 {
		return maxRetryAfter
	}
	wait := float64(s.Waiting) / float64(freed) * span.Seconds()
	return int(math.Ceil(min(max(wait, 1), maxRetryAfter)))
}

// spread adds up to a quarter and a second, and stays within maxRetryAfter.
func spread(wait int, random func(n int) int) int {
	width := wait/4 + 1
	return min(wait, maxRetryAfter-width) + random(width+1)
}
