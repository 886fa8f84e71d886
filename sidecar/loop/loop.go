// Package loop runs many streams in one goroutine: while nothing happens on a
// stream, it takes neither a goroutine nor a stack. What a stream does is its own
// affair (Stream); the loop knows descriptors, and when something happens on them.
//
// It is an epoll instance that is itself watched by the runtime's poller, so that
// its one goroutine parks like any other. Against a thread that blocks in
// epoll_wait, this takes a quarter less CPU a token. Descriptors are borrowed for
// the length of each system call (syscall.RawConn's Control): whoever closes one,
// from any goroutine and at any time, can have no byte written to a stranger's
// connection that gets its number. Tokens tell streams apart, and are not used again.
//
// Only Linux has it; elsewhere New returns nil, and a nil Loop takes no stream.
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
	token        uint64        // guarded by the loop's mu, as whether it is in the table
	last         time.Duration // something came; on the loop's clock. The loop's goroutine's alone, as what follows
	full         bool          // its sink's descriptor is in the instance
	over         bool
	due          bool // it is among those whose turn comes
}

// Wake has the stream told that it is Woken, unless it ends before. It may be called
// from any goroutine, does not block, and does nothing once the stream has ended.
func (m *Member) Wake() {
	l := m.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	l.posted = append(l.posted, m)
	l.hasPosted.Store(true)
	l.setAlarm()
}

// WakeAll is Wake of every stream that there is.
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
	sweepAt   time.Time // when silent streams are looked for; zero: there is no stream

	// The goroutine's own.
	woken []*Member // as posted; swapped
	turns []*Member
	next  []*Member // as turns; swapped
	batch [maxBatch]happened
}

// maxBatch is how many happenings one wait takes.
const maxBatch = 128

type happened struct {
	token uint64
	what  Happening
}

// sweepsPerSilence is how often silent streams are looked for within the time that
// they may be silent: they may be so for so much longer.
const sweepsPerSilence = 8

// Add has the loop run s, whose bytes come from source and go to sink. What is there
// already happens at once: s may have ended when Add returns. It fails where the
// source was closed, and s is not told of anything then.
func (l *Loop) Add(s Stream, source, sink Descriptor) (*Member, error) {
	m := l.Register(s, source, sink)
	return m, m.Begin()
}

// Register is the first half of Add, after which s may be woken; Begin is the other.
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

// Begin has the loop look at the source. Where it fails the stream never ends: it may
// have been told that it was Woken, and nothing else. It does nothing where the stream
// was woken and has ended.
func (m *Member) Begin() error {
	l := m.loop
	l.mu.Lock()
	defer l.mu.Unlock() // whoever ends it takes the source out after that
	if _, ok := l.members[m.token]; !ok {
		return nil
	}
	err := l.poller.add(m.source, m.token<<1, reads)
	if err != nil {
		delete(l.members, m.token)
	}
	return err
}

// forget takes m out of the table, and reports whether it was there.
func (l *Loop) forget(m *Member) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.members[m.token]
	delete(l.members, m.token)
	return ok
}

// Count is how many streams there are.
func (l *Loop) Count() int {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.members)
}

// handle tells the streams of a batch what happened.
func (l *Loop) handle(n int) {
	now := time.Now()
	var members [maxBatch]*Member
	l.mu.Lock()
	for i, h := range l.batch[:n] {
		members[i] = l.members[h.token>>1]
	}
	l.mu.Unlock()
	for i, h := range l.batch[:n] {
		if m := members[i]; m != nil {
			l.tell(m, h.what, now)
		}
	}
}

// tell tells m what happened, and does what it wants.
func (l *Loop) tell(m *Member, h Happening, now time.Time) {
	if m.over {
		return // earlier in this batch
	}
	if h&Readable != 0 {
		m.last = now.Sub(l.epoch)
	}
	want, fault := happen(m.stream, h, now)
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
			l.turn(m) // it was closed, and writing tells; or the kernel has no room
		}
	case Turn:
		l.turn(m)
	case Nothing:
		l.end(m, fault)
	}
}

// happen keeps a fault to the stream that it is of.
func happen(s Stream, h Happening, now time.Time) (want Want, fault *Fault) {
	defer func() {
		if value := recover(); value != nil {
			want, fault = Nothing, &Fault{value, debug.Stack()}
		}
	}()
	return s.Happened(h, now), nil
}

func (l *Loop) turn(m *Member) {
	if !m.due {
		m.due = true
		l.turns = append(l.turns, m)
	}
}

// end lets go of m.
func (l *Loop) end(m *Member, fault *Fault) {
	m.over = true
	if !l.forget(m) {
		return // Begin has failed
	}
	l.poller.remove(m.source)
	m.stream.Ended(fault)
}

// others tells the streams that were woken, and those whose turn it is. It reports
// whether there are more.
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
