// Package loop runs many streams on one goroutine, so that a stream on which nothing
// happens needs neither a goroutine nor a stack. The loop watches descriptors and tells
// each stream what happened on its own; what the stream does then is up to it (Stream).
//
// A loop is an epoll instance that the runtime's poller watches in turn, so its
// goroutine parks like any other. That takes a quarter less CPU a token than a thread
// that blocks in epoll_wait. A descriptor is borrowed for each system call
// (syscall.RawConn's Control): it may be closed by any goroutine at any time, and
// nothing is ever written to another connection that was given its number. Events carry
// the stream's token, which is never reused.
//
// Only Linux has loops; elsewhere New returns nil, and a nil Loop takes no stream.
package loop

import (
	"runtime/debug"
	"time"
)

// A Member is what a loop keeps of a stream that it runs. It may be part of the stream, so
// that both lie together in memory. It must not be copied, nor used for another stream.
type Member struct {
	stream Stream
	loop   *Loop
	token  uint64

	// These belong to the loop's goroutine.
	last time.Duration // when something last came, on the loop's clock
	full bool          // its sink is being watched
	over bool
	due  bool // it is among turns

	source, sink Descriptor
}

// Wake sends the stream a Woken event, unless it ends first. It may be called from any
// goroutine, does not block, and does nothing once the stream has ended.
func (m *Member) Wake() { m.loop.roster.post(m) }

// again gives the stream another turn after the others.
func (m *Member) again() {
	if !m.due {
		m.due = true
		m.loop.turns = append(m.loop.turns, m)
	}
}

// end removes the stream.
func (m *Member) end(fault *Fault) {
	m.over = true
	if !m.loop.roster.remove(m) {
		return // Begin failed
	}
	m.loop.poller.remove(m.source)
	m.stream.Ended(fault)
}

// A Loop runs streams. Make it with New.
type Loop struct {
	poller  poller
	roster  roster
	silence time.Duration
	epoch   time.Time

	// The rest belongs to the loop's goroutine.
	woken []*Member // swapped with posted
	turns []*Member // they go on after the others
	next  []*Member // swapped with turns
	batch [maxBatch]occurrence
}

// maxBatch is how many events one wait takes.
const maxBatch = 128

// An occurrence is an event and the token of its stream.
type occurrence struct {
	token uint64
	event Event
}

// Close ends Run. Streams that are left get no further events.
func (l *Loop) Close() { l.poller.close() }

// WakeAll wakes every stream.
func (l *Loop) WakeAll() { l.roster.postAll() }

// Count returns the number of streams.
func (l *Loop) Count() int {
	if l == nil {
		return 0
	}
	return l.roster.count()
}

// Add has the loop run s as m, a zero Member. Its bytes come from source and go to sink.
// Bytes that are already there are an event at once, so s may have ended when Add returns.
// Add fails if the source was closed; s gets no event then.
func (l *Loop) Add(m *Member, s Stream, source, sink Descriptor) error {
	l.Register(m, s, source, sink)
	return m.Begin()
}

// Register is the first half of Add, after which s may be woken; Begin is the second.
func (l *Loop) Register(m *Member, s Stream, source, sink Descriptor) {
	*m = Member{stream: s, source: source, sink: sink, loop: l, last: time.Since(l.epoch)}
	l.roster.add(m)
}

// Begin has the loop watch the source. If it fails, the stream never ends: it may have
// been Woken, and gets no other event. It does nothing if the stream was woken and has
// ended already.
func (m *Member) Begin() error {
	l := m.loop
	return l.roster.whileIn(m, func() error { return l.poller.add(m.source, m.token<<1, reads) })
}

// handle passes the events of a batch on to their streams.
func (l *Loop) handle(n int) {
	now := time.Now()
	var members [maxBatch]*Member
	l.roster.find(l.batch[:n], members[:n])
	for i, o := range l.batch[:n] {
		if m := members[i]; m != nil {
			l.tell(m, o.event, now)
		}
	}
}

// tell passes an event on to m, and does what m wants next.
func (l *Loop) tell(m *Member, e Event, now time.Time) {
	if m.over {
		return // it ended earlier in this batch
	}
	if e&Readable != 0 {
		m.last = now.Sub(l.epoch)
	}
	want, fault := call(m.stream, e, now)
	if m.full && want != Sink {
		m.full = false
		m.last = now.Sub(l.epoch)
		l.poller.remove(m.sink)
	}
	switch want {
	case Sink:
		if m.full {
			break
		}
		if m.full = l.poller.add(m.sink, m.token<<1|1, writes) == nil; !m.full {
			m.again() // it was closed, which the next write tells; or the kernel has no room
		}
	case Turn:
		m.again()
	case Nothing:
		m.end(fault)
	}
}

// call keeps a panic to the stream that caused it.
func call(s Stream, e Event, now time.Time) (want Want, fault *Fault) {
	defer func() {
		if value := recover(); value != nil {
			want, fault = Nothing, &Fault{value, debug.Stack()}
		}
	}()
	return s.Handle(e, now), nil
}

// others serves the streams that were woken, and those that wanted another turn. It
// reports whether more of the latter are left.
func (l *Loop) others() (more bool) {
	if l.woken = l.roster.takePosted(l.woken); len(l.woken) > 0 {
		now := time.Now()
		for _, m := range l.woken {
			l.tell(m, Woken, now)
		}
		clear(l.woken)
	}
	if len(l.turns) > 0 {
		l.turns, l.next = l.next[:0], l.turns
		now := time.Now()
		for _, m := range l.next {
			m.due = false
			l.tell(m, 0, now)
		}
		clear(l.next)
	}
	return len(l.turns) > 0
}
