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
	"sync"
	"sync/atomic"
	"time"
)

// A Member is a stream that a loop runs.
type Member struct {
	stream       Stream
	source, sink Descriptor
	loop         *Loop
	token        uint64 // guarded by the loop's mu

	// The rest belongs to the loop's goroutine.
	last time.Duration // when something last came, on the loop's clock
	full bool          // its sink is being watched
	over bool
	due  bool // it is among turns
}

// Wake sends the stream a Woken event, unless it ends first. It may be called from any
// goroutine, does not block, and does nothing once the stream has ended.
func (m *Member) Wake() {
	l := m.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	l.posted = append(l.posted, m)
	l.hasPosted.Store(true)
	l.setAlarm()
}

// WakeAll wakes every stream.
func (l *Loop) WakeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.members) == 0 {
		return
	}
	for _, m := range l.members {
		l.posted = append(l.posted, m)
	}
	l.hasPosted.Store(true)
	l.setAlarm()
}

// A Loop runs streams. Make it with New.
type Loop struct {
	poller  poller
	silence time.Duration
	epoch   time.Time

	hasPosted atomic.Bool
	mu        sync.Mutex
	lastToken uint64
	members   map[uint64]*Member
	posted    []*Member
	sweepAt   time.Time // when to look for silent streams; zero: there are no streams

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

// sweepsPerSilence is how often the loop looks for silent streams within the time that
// they may be silent. They are found up to one interval late.
const sweepsPerSilence = 8

// Add has the loop run s, whose bytes come from source and go to sink. Bytes that are
// already there are an event at once, so s may have ended when Add returns. Add fails
// if the source was closed; s gets no event then.
func (l *Loop) Add(s Stream, source, sink Descriptor) (*Member, error) {
	m := l.Register(s, source, sink)
	return m, m.Begin()
}

// Register is the first half of Add, after which s may be woken; Begin is the second.
func (l *Loop) Register(s Stream, source, sink Descriptor) *Member {
	m := &Member{stream: s, source: source, sink: sink, loop: l, last: time.Since(l.epoch)}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastToken++
	m.token = l.lastToken
	l.members[m.token] = m
	if l.sweepAt.IsZero() {
		l.sweepAt = time.Now().Add(l.silence / sweepsPerSilence)
		l.setAlarm()
	}
	return m
}

// Begin has the loop watch the source. If it fails, the stream never ends: it may have
// been Woken, and gets no other event. It does nothing if the stream was woken and has
// ended already.
func (m *Member) Begin() error {
	l := m.loop
	l.mu.Lock()
	defer l.mu.Unlock() // so that end removes the source after it was added
	if _, ok := l.members[m.token]; !ok {
		return nil
	}
	err := l.poller.add(m.source, m.token<<1, reads)
	if err != nil {
		delete(l.members, m.token)
	}
	return err
}

// forget removes m from the table, and reports whether it was there.
func (l *Loop) forget(m *Member) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.members[m.token]
	delete(l.members, m.token)
	return ok
}

// Count returns the number of streams.
func (l *Loop) Count() int {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.members)
}

// handle passes the events of a batch on to their streams.
func (l *Loop) handle(n int) {
	now := time.Now()
	var members [maxBatch]*Member
	l.mu.Lock()
	for i, o := range l.batch[:n] {
		members[i] = l.members[o.token>>1]
	}
	l.mu.Unlock()
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
			l.turn(m) // it was closed, which the next write tells; or the kernel has no room
		}
	case Turn:
		l.turn(m)
	case Nothing:
		l.end(m, fault)
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

func (l *Loop) turn(m *Member) {
	if !m.due {
		m.due = true
		l.turns = append(l.turns, m)
	}
}

// end removes m.
func (l *Loop) end(m *Member, fault *Fault) {
	m.over = true
	if !l.forget(m) {
		return // Begin failed
	}
	l.poller.remove(m.source)
	m.stream.Ended(fault)
}

// others serves the streams that were woken, and those that wanted another turn. It
// reports whether more of the latter are left.
func (l *Loop) others() (more bool) {
	if l.hasPosted.Swap(false) {
		l.mu.Lock()
		l.woken, l.posted = l.posted, l.woken[:0]
		l.mu.Unlock()
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
