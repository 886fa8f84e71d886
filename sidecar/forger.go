package sidecar

import (
	"errors"
	"time"

	"github.com/usher-sidecar/usher/crypto"
)

// What a connection waits that brings forged tickets in a row: the first is
// free, the second makes it wait firstPause, each further one twice as long.
const (
	firstPause = 50 * time.Millisecond
	maxPause   = time.Second
)

// A forger remembers how many tickets in a row a connection brought whose
// signature did not verify. Its next request waits, before any of it is read
// into memory or costs a public-key operation: so a flood of forgeries gets no
// share of the processor by the number of its connections, and has to pay for
// a new connection with every second one. A connection whose last ticket was
// good never waits.
type forger struct {
	inARow int
	until  time.Time // when the next request may go on
}

// note takes the verdict on a ticket.
func (f *forger) note(err error, now time.Time) {
	switch {
	case err == nil:
		f.inARow = 0
	case errors.Is(err, crypto.ErrBadSignature):
		f.until = now.Add(f.pause())
		f.inARow++
	}
}

// pause is what one more forgery costs.
func (f *forger) pause() time.Duration {
	if f.inARow == 0 {
		return 0
	}
	return min(firstPause<<min(f.inARow-1, 10), maxPause)
}

// coolOff waits until the connection may go on; it returns the cause when the
// call ends before.
func (x *exchange) coolOff() error {
	f := &x.conn.forger
	if f.inARow < 2 {
		return nil
	}
	left := time.Until(f.until)
	if left <= 0 {
		return nil
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-x.Done():
		return x.why()
	}
}
