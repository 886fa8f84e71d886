// Package burst gives the memory that a burst of requests took back to the system, soon
// after the burst. The runtime does that too, but takes minutes: its collector runs again
// when the heap has doubled or two minutes have passed, what a sync.Pool holds outlives
// that once, and of what is free it keeps enough for the heap to double.
package burst

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	interval = 250 * time.Millisecond // between two looks
	trickle  = 256 << 10              // bytes allocated in it, at most, when a burst is over
	apart    = 10 * time.Second       // the least time between two releases
	worth    = 4 << 20                // bytes to gain, at least, and a quarter of what stays
	patience = time.Minute            // how long a release waits for a moment in which nothing flows
)

// Run releases memory after each burst, until ctx ends. A release delays what flows
// meanwhile, so it waits for a moment in which nothing does, if one comes soon; flowing
// reports whether anything did within a time before now. Run does nothing while the
// collector does nothing.
func Run(ctx context.Context, flowing func(within time.Duration) bool) {
	collected := make(chan struct{}, 1)
	notify(ctx, collected)
	m, w := newMeter(), watch{}
	for wait(ctx, collected) {
		next := w.look(m.read(), time.Now(), flowing(interval))
		for ; next == lookAgain; next = w.look(m.read(), time.Now(), flowing(interval)) {
			if !wait(ctx, time.After(interval)) {
				return
			}
		}
		if next == releaseNow {
			release()
			w.released(m.read(), time.Now())
		}
	}
}

// release collects twice, since what is in a sync.Pool outlives one collection.
func release() {
	runtime.GC()
	debug.FreeOSMemory()
}

// wait waits for c, and returns false if ctx ends.
func wait[T any](ctx context.Context, c <-chan T) bool {
	select {
	case <-ctx.Done():
		return false
	case <-c:
		return true
	}
}

// notify sends on c after each cycle of the collector, unless c is full, until ctx ends.
func notify(ctx context.Context, c chan<- struct{}) {
	garbage := new([64]byte) // what is smaller shares an allocation, and may never be freed
	runtime.AddCleanup(garbage, func(c chan<- struct{}) {
		select {
		case c <- struct{}{}:
		default:
		}
		if ctx.Err() == nil {
			notify(ctx, c)
		}
	}, c)
}

// A usage is how much memory the heap takes.
type usage struct {
	resident uint64 // bytes of the system's memory
	allocs   uint64 // bytes allocated since the start
}

// A watch decides when to release memory.
type watch struct {
	last  usage     // at the last look
	least uint64    // the least that was resident since the last release
	next  time.Time // when the next release may be
	due   time.Time // since when there is one to make; zero: there is none
}

// A step is what comes after a look.
type step int

const (
	lookAgain step = iota // a burst goes on, or a release has to wait
	nothingToGain
	releaseNow
)

// look is told the usage of now, and whether anything flows.
func (w *watch) look(u usage, now time.Time, flows bool) step {
	allocated := u.allocs - w.last.allocs
	w.last, w.least = u, min(w.least, u.resident)
	over := allocated <= trickle
	gain := u.resident-w.least >= max(worth, w.least/4)
	if !over || !gain {
		w.due = time.Time{}
	} else if w.due.IsZero() {
		w.due = now
	}
	switch {
	case over && !gain:
		return nothingToGain
	case !over, now.Before(w.next), flows && now.Sub(w.due) < patience:
		return lookAgain
	}
	return releaseNow
}

// released records what is resident after a release.
func (w *watch) released(u usage, now time.Time) {
	*w = watch{last: u, least: u.resident, next: now.Add(apart)}
}

// A meter reads the runtime's figures.
type meter []metrics.Sample

func newMeter() meter {
	return meter{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
}

func (m meter) read() usage {
	metrics.Read(m)
	u := usage{allocs: m[0].Value.Uint64()}
	for _, part := range m[1:] {
		u.resident += part.Value.Uint64()
	}
	return u
}
