package loop

import "time"

// An Event is what happened to a stream.
type Event uint8

// The events; several may come at once.
const (
	Readable Event = 1 << iota // something came from the source
	Last                       // the source's end, or an error, may follow it
	Writable                   // the sink takes more
	Woken                      // Wake was called
	Silent                     // nothing came from the source for the time given to New
)

// A Want is what a stream waits for next.
type Want uint8

// The wants.
const (
	Source  Want = iota // something from the source
	Sink                // room at the sink; the source may be silent meanwhile
	Turn                // nothing: it is called again after the others
	Nothing             // it has ended
)

// A Stream is run by a loop.
type Stream interface {
	// Handle moves what can be moved. The loop's goroutine calls it, so it must not
	// block. e is 0 if the stream wanted a Turn.
	Handle(e Event, now time.Time) Want
	// Ended is called once, by the loop's goroutine, after Handle returned Nothing or
	// panicked; fault is nil unless it panicked. The loop watches neither descriptor
	// any more. Ended must not block, nor panic.
	Ended(fault *Fault)
}

// A Fault is a panic of Handle.
type Fault struct {
	Value any
	Stack []byte
}

// A Descriptor is lent to f for a system call; see syscall.RawConn.
type Descriptor interface {
	Control(f func(fd uintptr)) error
}
