package sidecar

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/usher-sidecar/usher/reorder"
)

// A comeback estimates when a refused request should be retried: how long the queue
// takes to empty at the rate at which slots were freed during the last seconds. It
// samples once a second, so that admitted requests pay nothing for it. It is safe for
// concurrent use.
type comeback struct {
	stats func() reorder.Stats

	mu    sync.Mutex
	marks [comebackSpan]mark // a ring of samples, one second apart
	next  int
	at    time.Time // when wait was computed
	wait  int       // in seconds
}

// A mark is how many slots had been freed by some moment.
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

// run takes a sample every second until ctx ends.
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

// seconds returns the value of Retry-After (RFC 9110 section 10.2.3), with jitter so
// that clients refused together do not all come back together.
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

// freedSlots returns how many slots have been given back so far.
func freedSlots(s reorder.Stats) uint64 { return s.Admitted - uint64(s.InFlight) }

// estimate returns the seconds until the queue is empty, from 1 to maxRetryAfter.
// before is how many slots had been given back one span earlier.
func estimate(s reorder.Stats, before uint64, span time.Duration) int {
	if s.Waiting == 0 || s.Slots == 0 || s.InFlight < s.Slots {
		return 1 // it was not refused for the queue, or the queue is about to move
	}
	freed := freedSlots(s) - before
	if freed == 0 {
		return maxRetryAfter
	}
	wait := float64(s.Waiting) / float64(freed) * span.Seconds()
	return int(math.Ceil(min(max(wait, 1), maxRetryAfter)))
}

// spread adds up to a quarter plus one second, within maxRetryAfter.
func spread(wait int, random func(n int) int) int {
	width := wait/4 + 1
	return min(wait, maxRetryAfter-width) + random(width+1)
}
