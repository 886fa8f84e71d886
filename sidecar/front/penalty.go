package front

import (
	"context"
	"time"
)

// How long a connection waits after forged tickets in a row: the first is free, the
// second makes it wait firstPause, each further one twice as long.
const (
	firstPause = 50 * time.Millisecond
	maxPause   = time.Second
)

// A Penalty remembers how many tickets in a row, on one connection, had a signature that
// did not verify. The connection's next request waits, before any of it is read into
// memory or costs a public-key operation: so more connections do not give a flood of
// forgeries more processor time, unless it pays for a new connection with every second
// forgery. A connection whose last ticket was good never waits. The zero value is such a
// one.
//
// On a trusted proxy's connection there are requests of several clients. Only the last
// forger waits, and only that client's good tickets clear it.
type Penalty struct {
	of     string // the client that forged last
	inARow int
	until  time.Time // when its next request may go on
}

// Good records a client's ticket that verified.
func (p *Penalty) Good(client string) {
	if client == p.of {
		p.inARow = 0
	}
}

// Forged records a client's ticket that did not verify.
func (p *Penalty) Forged(client string, now time.Time) {
	if client != p.of {
		*p = Penalty{of: client}
	}
	p.until = now.Add(p.pause())
	p.inARow++
}

// pause returns the wait after one more forgery.
func (p *Penalty) pause() time.Duration {
	if p.inARow == 0 {
		return 0
	}
	return min(firstPause<<min(p.inARow-1, 10), maxPause)
}

// Wait waits until a client's request may go on. It returns ctx's error if ctx ends first.
func (p *Penalty) Wait(ctx context.Context, client string) error {
	if client != p.of || p.inARow < 2 {
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
