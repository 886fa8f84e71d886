// Package reorder admits requests to a limited number of slots in approximately
// the order of their numbers: a request that arrives ahead of a missing number is
// held for a short while, and when no slot is free the lowest number goes first.
// There may be several series of numbers, which share the slots.
//
// A sequencer, a state machine without a clock, lock or goroutine, makes the
// decisions; a Buffer wraps it and does the waiting. "Late", "gap" and "reordered"
// mean what they mean in RFC 4737.
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
	// ErrFull: the queue has no room left, in requests or in bytes, and the request
	// has the highest number of all.
	ErrFull = errors.New("reorder: no room to wait")
	// ErrTimeout: the request waited for Config.Timeout.
	ErrTimeout = errors.New("reorder: waited too long")
	// ErrConfig is wrapped by every error that New returns.
	ErrConfig = errors.New("reorder: bad configuration")
)

// A Config says how many requests may run and wait, and for how long. The zero
// value is not valid: Timeout must be set.
type Config struct {
	Slots    int           // requests admitted at once, until Resize; 0: no limit
	Capacity int           // requests that may wait, held ones included; 0: none, and no holding
	Bytes    int64         // limit on the sum of Request.Bytes of all that wait; a request above it is never held
	Timeout  time.Duration // longest wait, above 0; it bounds every hold as well

	Hold time.Duration // how long a request ahead of a gap is held; 0: not at all; ignored with Auto

	Auto    bool          // learn the hold instead of using Hold
	MaxHold time.Duration // with Auto: upper bound of the hold; 0: no holding
	Target  float64       // with Auto: share of requests that may be admitted out of order; above 0, below 1
}

// A Request asks to be admitted.
type Request struct {
	Series    Series // in which the number counts
	Number    int64  // 0 … 2^63-1; a negative one makes the request Unordered
	Unordered bool   // has no trusted number: admitted in order of arrival, never held
	Bytes     int64  // memory that it occupies while it waits; negative counts as 0

	Spooler Spooler // reads the rest of the request while it waits; nil: it is complete
}

// A Spooler reads the rest of a request while it waits. Its methods are called by
// Admit, on the caller's goroutine, each at most once; neither may block for long.
type Spooler interface {
	// Spool starts reading, once the request has to wait. more adds n bytes to those
	// that the request occupies, and reports whether there is room for them; any
	// goroutine may call it until Halt has returned.
	Spool(more func(n int64) bool)
	// Halt stops reading, once the request no longer waits.
	Halt()
}

// A Buffer admits requests. Make it with New. All methods are safe for concurrent
// use. It needs no Close: it is empty when every Slot has been released and every
// context given to Admit has ended. One timer may outlive that by up to
// Config.Timeout; it does nothing when it fires.
type Buffer struct {
	start time.Time
	pool  sync.Pool // of *waiter; not shared between Buffers

	mu         sync.Mutex
	seq        *sequencer
	departures departures
	timer      *time.Timer
	armed      time.Duration // when the timer fires; never if it is not set
}

const never = time.Duration(math.MaxInt64)

// New makes a Buffer. It starts no goroutine. Every error wraps ErrConfig.
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
// once. The error is ErrFull, either at once or when a request with a lower number
// takes r's place; ErrTimeout; or context.Cause(ctx) if ctx ends while r waits.
// With an error the Slot is empty and only says how long r waited. A Slot that is
// granted just as ctx ends is given back at once.
//
// A request that need not wait is admitted even if ctx has ended. A number whose
// request came and left without a Slot delays nobody, and may come again.
func (b *Buffer) Admit(ctx context.Context, r Request) (Slot, error) {
	s := r.Spooler
	r.Spooler = nil // so that no waiter keeps it alive
	now := time.Since(b.start)
	b.mu.Lock()
	w, v := b.seq.arrive(r, now)
	turn := uint64(0)
	if v == admitted {
		w, turn = b.depart(now)
		s = nil
	}
	b.unlock(now)
	switch {
	case v == admitted && w == nil:
		return Slot{buffer: b, turn: turn}, nil
	case v == full:
		return Slot{}, ErrFull
	}
	return b.wait(ctx, w, s)
}

// depart sends off a request that was admitted at once. If others are departing it
// joins them, as a waiter; if others will follow it, it has a turn.
func (b *Buffer) depart(now time.Duration) (w *waiter, turn uint64) {
	switch {
	case !b.departures.idle():
		w = b.seq.alloc()
		*w = waiter{ready: w.ready}
		w.verdict = admitted
		b.departures.join(w)
	case b.seq.settled.first != nil:
		turn = b.departures.begin(now)
	}
	return w, turn
}

// wait blocks until the sequencer has settled w or ctx ends.
func (b *Buffer) wait(ctx context.Context, w *waiter, s Spooler) (Slot, error) {
	if s != nil {
		s.Spool(func(n int64) bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return w.verdict == waiting && b.seq.queue.grow(w, n)
		})
	}
	gone := false
	select {
	case <-w.ready:
	case <-ctx.Done():
		gone = true
	}
	if s != nil {
		s.Halt() // before w is reused
	}
	if gone {
		now := time.Since(b.start)
		b.mu.Lock()
		left := b.seq.leave(w, now)
		b.unlock(now)
		if left {
			waited := Slot{held: w.held, queued: w.queued}
			b.pool.Put(w)
			return waited, context.Cause(ctx)
		}
		// w was settled between the end of ctx and the lock, so a wake-up is on its
		// way. It must be received, or the next owner of w would get it.
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

// Skip records that the request with this number came but needs no slot, so that
// nobody is held for it.
func (b *Buffer) Skip(s Series, number int64) {
	now := time.Since(b.start)
	b.mu.Lock()
	b.seq.passOver(s, number, now)
	b.unlock(now)
}

// Restart records that a series has begun, or begins anew, at any number. Its next
// request is not held. Those that wait, in any series, keep their order, go before all
// that come later, and are no longer held.
func (b *Buffer) Restart(s Series) {
	now := time.Since(b.start)
	b.mu.Lock()
	b.seq.restart(s, now)
	b.unlock(now)
}

// Resize changes how many requests are admitted at once; 0 means no limit, and a
// negative number counts as 1. Running requests keep their slots: if there are more
// than slots, nobody is admitted until enough have been released.
func (b *Buffer) Resize(slots int) {
	if slots < 0 {
		slots = 1
	}
	now := time.Since(b.start)
	b.mu.Lock()
	b.seq.resize(slots, now)
	b.unlock(now)
}

// Stats returns a consistent snapshot.
func (b *Buffer) Stats() Stats {
	now := time.Since(b.start)
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seq.snapshot(now)
}

func (b *Buffer) release(turn uint64) {
	now := time.Since(b.start)
	b.mu.Lock()
	b.departures.sent(turn)
	b.seq.release(now)
	b.unlock(now)
}

func (b *Buffer) sent(turn uint64) {
	now := time.Since(b.start)
	b.mu.Lock()
	b.departures.sent(turn)
	b.unlock(now)
}

// tick runs when the timer fires.
func (b *Buffer) tick() {
	now := time.Since(b.start)
	b.mu.Lock()
	b.armed = never
	b.seq.advance(now)
	b.unlock(now)
}

// unlock follows a change: it sets the timer, unlocks b and wakes those that were
// settled.
func (b *Buffer) unlock(now time.Duration) {
	woken := b.departures.join(b.seq.settled.take())
	if w := b.departures.next(now); w != nil {
		// The refused are woken last: they delay nobody.
		last := w
		for last.nextSettled != nil {
			last = last.nextSettled
		}
		last.nextSettled, woken = woken, w
	}
	// A timer that fires too early only costs a tick, so it is never moved to a later
	// time: that would be work for nearly every request.
	if at := min(b.seq.wake(), b.departures.wake()); at < b.armed {
		b.armed = at
		if wait := at - now; b.timer == nil {
			b.timer = time.AfterFunc(wait, b.tick)
		} else {
			b.timer.Reset(wait)
		}
	}
	b.mu.Unlock()
	wake(woken)
}

// wake, called outside the lock, wakes a list of waiters. A waiter belongs to its
// own goroutine again as soon as it is woken, so its link is read first.
func wake(w *waiter) {
	for w != nil {
		next := w.nextSettled
		w.nextSettled = nil
		w.ready <- struct{}{}
		w = next
	}
}
