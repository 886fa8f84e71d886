package front

import (
	"context"
	"time"
)

// What a connection waits that brings forged tickets in a row: the first is
// free, the second makes it wait firstPause, each further one twice as long.
const (
	firstPause = 50 * time.Millisecond
	maxPause   = time.Second
)

// A Penalty remembers how many tickets in a row a connection brought whose
// signature did not verify. Its next request waits, before any of it is read
// into memory or costs a public-key operation: so a flood of forgeries gets no
// share of the processor by the number of its connections, and has to pay for
// a new connection with every second one. A connection whose last ticket was
// good never waits. The zero value is such a one.
type Penalty struct {
	inARow int
	until  time.Time // when the next request may go on
}

// Good notes a ticket that verified.
func (p *Penalty) Good() { p.inARow = 0 }

// Forged notes one that did not.
func (p *Penalty) Forged(now time.Time) {
	p.until = now.Add(p.pause())
	p.inARow++
}

// pause is what one more forgery costs.
func (p *Penalty) pause() time.Duration {
	if p.inARow == 0 {
		return 0
	}
	return min(firstPause<<min(p.inARow-1, 10), maxPause)
}

// Wait waits until the connection may go on. It returns ctx's error when that
// ends before.
func (p *Penalty) Wait(ctx context.Context) error {
	if p.inARow < 2 {
		return nil
	}
	left := time.Until(p.until)
	if left <= 0 {
		return nil
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
