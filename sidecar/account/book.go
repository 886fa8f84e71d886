package account

import "time"

// A Sink receives every request that has ended, once.
type Sink interface {
	// Ended is called by the goroutine that served the request, with Times.End
	// set; it must not block.
	Ended(*Request)
}

// A Meter is a sink that is also told of a request's progress. Its methods must take
// only nanoseconds, because Gap is called for each piece of a stream.
type Meter interface {
	Sink
	Verified(took time.Duration)
	Waited(hold, queue time.Duration)
	FirstByte(*Request)      // Times.FirstByte is set
	Gap(since time.Duration) // between two pieces of an answer
}

// A Book passes accounts on to its sinks, in the order in which they were added. It is
// itself a Meter. Add all sinks before its first use; after that it is safe for
// concurrent use.
type Book struct {
	sinks  []Sink
	meters []Meter
}

// Add makes s one of the book's sinks.
func (b *Book) Add(s Sink) {
	b.sinks = append(b.sinks, s)
	if m, ok := s.(Meter); ok {
		b.meters = append(b.meters, m)
	}
}

// Verified implements Meter.
func (b *Book) Verified(took time.Duration) {
	for _, m := range b.meters {
		m.Verified(took)
	}
}

// Waited implements Meter.
func (b *Book) Waited(hold, queue time.Duration) {
	for _, m := range b.meters {
		m.Waited(hold, queue)
	}
}

// FirstByte implements Meter.
func (b *Book) FirstByte(r *Request) {
	for _, m := range b.meters {
		m.FirstByte(r)
	}
}

// Gap implements Meter.
func (b *Book) Gap(since time.Duration) {
	for _, m := range b.meters {
		m.Gap(since)
	}
}

// Ended implements Sink.
func (b *Book) Ended(r *Request) {
	for _, s := range b.sinks {
		s.Ended(r)
	}
}
