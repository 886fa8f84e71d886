// Package reorder admits requests to a limited number of slots in approximately
// the order of their numbers: a request that arrives ahead of a missing number is
// held for a short while, and when no slot is free the lowest number goes first.
//
// A sequencer, a state machine without clock, lock or goroutine, makes the
// decisions; a Buffer wraps it and does the waiting. "Late", "gap" and "reordered"
// are used as in RFC 4737.
package reorder

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

var (
	// ErrFull refuses a request that may not wait: there is no room left, by
	// number or by bytes, and it has the highest number of all.
	ErrFull = errors.New("reorder: no room to wait")
	// ErrTimeout refuses a request that waited for as long as it may.
	ErrTimeout = errors.New("reorder: waited too long")
	// ErrConfig is wrapped by every error that New returns.
	ErrConfig = errors.New("reorder: bad configuration")
)

// A Config says how many requests may run and wait, and for how long. The zero
// value is not valid: Timeout must be set.
type Config struct {
	Slots    int           // requests admitted at once, until Resize; 0: no limit
	Capacity int           // requests that may wait, held ones included; 0: none, and no holding
	Bytes    int64         // sum of Request.Bytes of those that wait; a request above it is never held
	Timeout  time.Duration // longest wait, above 0; it bounds every hold as well

	Hold time.Duration // how long a request ahead of a gap is held; 0: not at all; ignored with Auto

	Auto    bool          // choose the hold instead of taking Hold
	MaxHold time.Duration // with Auto: the hold is never longer; 0: no holding
	Target  float64       // with Auto: share of requests that may be admitted out of order; above 0, below 1
}

// A Request is what asks to be admitted.
type Request struct {
	Number    int64 // 0 … 2^63-1; a negative one makes the request Unordered
	Unordered bool  // no number to trust: arrival order, and never held
	Bytes     int64 // what it occupies while it waits; a negative count is taken as 0

	Spooler Spooler // takes in what belongs to it while it waits; nil: all is here
}

// A Spooler takes in, while a request waits, what belongs to it and was not here
// when it came. Its methods are called by Admit, on its goroutine, each at most
// once; neither may block for long.
type Spooler interface {
	// Spool begins, once the request has to wait. more counts n more bytes that it
	// occupies, and reports whether there is room for them; any goroutine may call
	// it, until Halt has returned.
	Spool(more func(n int64) bool)
	// Halt ends it, once the request waits no longer.
	Halt()
}

// A Buffer admits requests. Make it with New. All methods are safe for
// concurrent use. It has no Close: it is empty when every Slot was released and
// every context given to Admit has ended; one timer may outlive that by
// Config.Timeout, and does nothing then.
type Buffer struct {
	start time.Time
	pool  sync.Pool // of *waiter; not shared between Buffers

	mu         sync.Mutex
	seq        *sequencer
	departures departures
	timer      *time.Timer
	armed      time.Duration // when the timer fires; never when it does not
}

const never = time.Duration(math.MaxInt64)

// New makes a Buffer. It starts nothing. Every error wraps ErrConfig.
func New(cfg Config) (*Buffer, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return newBuffer(cfg, newEstimator(cfg)), nil
}

func newBuffer(cfg Config, e estimator) *Buffer {
	b := &Buffer{start: time.Now(), armed: never}
	b.pool.New = func() any { return &waiter{ready: make(chan struct{}, 1)} }
	b.seq = newSequencer(cfg, e, func() *waiter { return b.pool.Get().(*waiter) })
	return b
}

func (cfg *Config) validate() error {
	var faults []error
	for _, f := range []struct {
		bad  bool
		text string
	}{
		{cfg.Slots < 0, "Slots is negative"},
		{cfg.Capacity < 0 || cfg.Capacity > math.MaxInt32, "Capacity is negative or above 2^31-1"},
		{cfg.Bytes < 0, "Bytes is negative"},
		{cfg.Timeout <= 0, "Timeout is not above 0"},
		{!cfg.Auto && cfg.Hold < 0, "Hold is negative"},
		{cfg.Auto && cfg.MaxHold < 0, "MaxHold is negative"},
		{cfg.Auto && !(cfg.Target > 0 && cfg.Target < 1), "Target is not between 0 and 1"},
	} {
		if f.bad {
			faults = append(faults, errors.New(f.text))
		}
	}
	return errors.Join(faults...)
}

// Admit waits until it is r's turn and returns its Slot, which must be released
// once. With an error the Slot holds nothing and only tells how long r waited:
// ErrFull, at once or when a lower number takes its place; ErrTimeout; or
// context.Cause(ctx) when ctx ends while r waits. A Slot granted in the instant
// in which ctx ends goes back at once.
//
// A request that need not wait is admitted whatever the state of ctx. A number
// whose request came and left without a Slot holds up nobody; it may come again.
func (b *Buffer) Admit(ctx context.Context, r Request) (Slot, error) {
	s := r.Spooler
	r.Spooler = nil // no waiter keeps it
	now := b.now()
	b.mu.Lock()
	w, v := b.seq.arrive(r, now)
	turn := uint64(0)
	if v == admitted {
		w, turn = b.depart(now)
		s = nil
	}
	woken := b.flush(now)
	b.mu.Unlock()
	wake(woken)
	switch {
	case v == admitted && w == nil:
		return Slot{buffer: b, turn: turn}, nil
	case v == full:
		return Slot{}, ErrFull
	}
	return b.wait(ctx, w, s)
}

// more is a Spooler's.
func (b *Buffer) more(w *waiter, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return w.verdict == waiting && b.seq.queue.grow(w, n)
}

// depart lets a newcomer go who was admitted at once. With others on their way it
// goes behind them, and there is a waiter for it; with others behind it, it has
// a turn.
func (b *Buffer) depart(now time.Duration) (w *waiter, turn uint64) {
	switch {
	case !b.departures.idle():
		w = b.seq.alloc()
		*w = waiter{ready: w.ready, verdict: admitted}
		b.departures.join(w)
	case b.seq.settled.first != nil:
		turn = b.departures.begin(now)
	}
	return w, turn
}

// wait blocks until the sequencer has settled w or ctx ends.
func (b *Buffer) wait(ctx context.Context, w *waiter, s Spooler) (Slot, error) {
	if s != nil {
		s.Spool(func(n int64) bool { return b.more(w, n) })
	}
	gone := false
	select {
	case <-w.ready:
	case <-ctx.Done():
		gone = true
	}
	if s != nil {
		s.Halt() // before w is another's
	}
	if gone {
		now := b.now()
		b.mu.Lock()
		left := b.seq.leave(w, now)
		woken := b.flush(now)
		b.mu.Unlock()
		wake(woken)
		if left {
			waited := Slot{held: w.held, queued: w.queued}
			b.pool.Put(w)
			return waited, context.Cause(ctx)
		}
		// Settled between the end of ctx and the lock: the wake-up is on its way.
		// It must be taken, or the waiter's next owner would get it.
		<-w.ready
	}
	v, slot := w.verdict, Slot{turn: w.turn, held: w.held, queued: w.queued}
	b.pool.Put(w)
	switch v {
	case full:
		return slot, ErrFull
	case timedOut:
		return slot, ErrTimeout
	}
	slot.buffer = b
	if ctx.Err() != nil {
		slot.Release()
		return slot, context.Cause(ctx)
	}
	return slot, nil
}

// Skip says that the request of a number came, and needs no slot: it holds up
// nobody.
func (b *Buffer) Skip(number int64) {
	now := b.now()
	b.mu.Lock()
	b.seq.passOver(number, now)
	woken := b.flush(now)
	b.mu.Unlock()
	wake(woken)
}

// Restart says that the numbers start again, from anywhere. The next one to come
// is not held. Those that wait keep their order, go before all that come later,
// and are not held any more.
func (b *Buffer) Restart() {
	now := b.now()
	b.mu.Lock()
	b.seq.restart(now)
	woken := b.flush(now)
	b.mu.Unlock()
	wake(woken)
}

// Resize changes how many requests are admitted at once; 0: no limit, a negative
// number is taken as 1. Those that run keep their slots: where more run than may,
// nobody is admitted until enough were released.
func (b *Buffer) Resize(slots int) {
	if slots < 0 {
		slots = 1
	}
	now := b.now()
	b.mu.Lock()
	b.seq.resize(slots, now)
	woken := b.flush(now)
	b.mu.Unlock()
	wake(woken)
}

// Stats returns a consistent snapshot.
func (b *Buffer) Stats() Stats {
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seq.snapshot(now)
}

func (b *Buffer) release(turn uint64) {
	now := b.now()
	b.mu.Lock()
	b.departures.sent(turn)
	b.seq.release(now)
	woken := b.flush(now)
	b.mu.Unlock()
	wake(woken)
}

func (b *Buffer) sent(turn uint64) {
	now := b.now()
	b.mu.Lock()
	b.departures.sent(turn)
	woken := b.flush(now)
	b.mu.Unlock()
	wake(woken)
}

// tick runs when the timer fires.
func (b *Buffer) tick() {
	now := b.now()
	b.mu.Lock()
	b.armed = never
	b.seq.advance(now)
	woken := b.flush(now)
	b.mu.Unlock()
	wake(woken)
}

// flush, under the lock, sees to it that the timer fires in time and returns
// those to wake. A timer that fires too early only costs a tick, so it is never
// set to a later moment: that would be work for nearly every request.
func (b *Buffer) flush(now time.Duration) *waiter {
	woken := b.departures.join(b.seq.settled.take())
	if w := b.departures.next(now); w != nil {
		// Those who are refused can wait: they are in nobody's way.
		last := w
		for last.nextSettled != nil {
			last = last.nextSettled
		}
		last.nextSettled, woken = woken, w
	}
	if at := min(b.seq.wake(), b.departures.wake()); at < b.armed {
		b.armed = at
		if wait := at - now; b.timer == nil {
			b.timer = time.AfterFunc(wait, b.tick)
		} else {
			b.timer.Reset(wait)
		}
	}
	return woken
}

// wake, outside the lock, wakes a list of waiters. Each belongs to its
// own goroutine again as soon as it is woken, so its link is read before.
func wake(w *waiter) {
	for w != nil {
		next := w.nextSettled
		w.nextSettled = nil
		w.ready <- struct{}{}
		w = next
	}
}

func (b *Buffer) now() time.Duration { return time.Since(b.start) }
