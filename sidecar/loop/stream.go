package loop

import "time"

// A Happening is what a stream is told of.
type Happening uint8

// The happenings; several may come at once.
const (
	Readable Happening = 1 << iota // something came at the source
	Last                           // its end or an error may be behind that
	Writable                       // the sink takes more
	Woken                          // Wake was called
	Silent                         // nothing came at the source for the loop's Silence
)

// A Want is what a stream waits for.
type Want uint8

// The wants.
const (
	Source  Want = iota // something at the source
	Sink                // room at the sink; the source's silence is not counted
	Turn                // nothing: it is to be told again, after the others
	Nothing             // it has ended
)

// A Stream is run by a loop.
type Stream interface {
	// Happened moves what can be moved. It is called by the loop's goroutine, and
	// must not block.
	Happened(h Happening, now time.Time) Want
	// Ended is called once, by the loop's goroutine, when Happened returned Nothing or
	// panicked, which fault tells of then. The loop has let go of both descriptors. It
	// must not block, nor panic.
	Ended(fault *Fault)
}

// A Fault is what Happened panicked with.
type Fault struct {
	Value any
	Stack []byte
}

// A Descriptor lends itself to f, see syscall.RawConn.
type Descriptor interface {
	Control(f func(fd uintptr)) error
}
