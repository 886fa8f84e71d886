package front

import (
	"context"
	"errors"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/usher-sidecar/usher/sidecar/loop"
	"github.com/usher-sidecar/usher/sidecar/socket"
)

// A Conn whose answer is a stream can be lent: its goroutine ends, which frees the stack
// and fasthttp's context, until the stream has ended and the connection is given back.
// It then waits for its next request with next to no memory, and is served again when
// that arrives.

// lending counts the Server's lent connections, and holds the loop in which given-back
// ones wait.
type lending struct {
	lent  atomic.Int64              // connections lent, until they are served again or closed
	again atomic.Int64              // given-back connections that are served again
	over  atomic.Bool               // Shutdown has begun
	loop  atomic.Pointer[loop.Loop] // nil: each given-back connection waits on a goroutine
	done  chan struct{}             // closed when the loop has ended

	mu sync.Mutex // held while the loop is made, and while over is set
}

// CanLend reports whether Lend works: the connection has a descriptor.
func (c *Conn) CanLend() bool { return c.ctx != nil && c.watched.CanTry() }

// Lend has begin called exactly once, after fasthttp has let go of the connection, on the
// goroutine that served it. From then on the answer is written elsewhere, until GiveBack.
// The handler must not use c after Lend.
func (c *Conn) Lend(begin func()) {
	c.handOver = begin
	c.lent.Store(true)
	c.server.lending.lent.Add(1)
	// fasthttp closes the connection then, and wire.Close ignores that. A hijack would
	// also make fasthttp let go, but costs a goroutine.
	c.ctx.SetConnectionClose()
}

// Control lends the connection's descriptor to f; see syscall.RawConn.
func (c *Conn) Control(f func(fd uintptr)) error { return c.watched.Control(f) }

// A Taker is a lent connection as the answer is written to it.
type Taker interface {
	// TryWrite writes what the client takes of p at once. If n is less than len(p), the
	// next write must begin with p[n:].
	TryWrite(p []byte) (n int, err error)
}

// Taker returns what a lent answer can be written to. Over plain TCP that is the
// connection beneath, so that a token touches no more memory than it needs.
func (c *Conn) Taker() Taker {
	if s, ok := c.Conn.(*secureConn); ok {
		return s
	}
	return c.watched
}

// lendOut is told of the states of connections. Only once fasthttp reports a connection
// closed has it let go of it.
func lendOut(nc net.Conn, state fasthttp.ConnState) {
	if c, ok := nc.(*wire); ok && state == fasthttp.StateClosed && c.handOver != nil {
		begin := c.handOver
		c.handOver = nil
		begin()
	}
}

// GiveBack ends the lending, once the answer has ended. It does not block: the connection
// is closed, or waits for its next request and is served then.
func (c *Conn) GiveBack() {
	r := (*resting)(c)
	defer func() {
		if fault := recover(); fault != nil {
			r.broke(fault, debug.Stack())
		}
	}()
	(*serving)(c).finish()
	more := r.passEmptyLines()
	switch {
	case c.state.closes:
		go r.leave() // which may wait for the client
	case more || !r.wait():
		go r.serve()
	}
}

// resting is a Conn that was given back. It waits for its next request as a stream of the
// loop that ends with the first event.
type resting Conn

// maxEmptyReads bounds the reads of passEmptyLines, so that a client cannot keep it busy.
const maxEmptyReads = 8

// passEmptyLines drops the empty lines before the next request, over TLS also those that
// crypto/tls has read already, of which no event of the socket tells. It reports whether
// there may be more to read without an event.
func (r *resting) passEmptyLines() (more bool) {
	s, secure := r.Conn.(*secureConn)
	for range maxEmptyReads {
		r.ahead.Drop(r.guard.blank(r.ahead.Bytes()))
		if !secure || r.state.closes || !r.ahead.Empty() {
			return !r.ahead.Empty()
		}
		err := s.tryFill(&r.ahead)
		if errors.Is(err, socket.ErrWouldWait) {
			return false
		}
		r.state.closes = err != nil
	}
	return true
}

// leave closes the connection.
func (r *resting) leave() {
	r.lent.Store(false)
	r.server.lending.lent.Add(-1)
	_ = r.Conn.Close()
}

// serve serves the next requests. If there is no loop (on systems other than Linux), it
// waits for the first byte like a new connection.
func (r *resting) serve() {
	if r.server.lending.over.Load() && r.ahead.Empty() {
		r.leave()
		return
	}
	if s, ok := r.Conn.(*secureConn); ok && s.sendKept() != nil {
		r.leave()
		return
	}
	l := &r.server.lending
	l.again.Add(1) // before it is lent no more: fasthttp counts it as open only a moment later
	defer l.again.Add(-1)
	r.lent.Store(false)
	l.lent.Add(-1)
	_ = r.server.http.ServeConn((*wire)(r))
}

// wait has the loop wait for the next request; false if there is no loop.
func (r *resting) wait() bool {
	waiting := r.server.lending.loop.Load()
	if waiting == nil {
		return false
	}
	(*wire)(r).rest()
	r.state.restsUntil = time.Now().Add(r.server.idleTimeout())
	m := new(loop.Member)
	waiting.Register(m, r, (*Conn)(r), nil)
	r.watched.OnClose(m.Wake)
	if r.server.lending.over.Load() {
		m.Wake()
	}
	if m.Begin() != nil { // it was closed meanwhile, or the kernel has no room
		go r.leave()
	}
	return true
}

// Handle implements loop.Stream. Bytes are read here, so that the read time-out of the
// request starts when it is served, and a client that leaves needs no goroutine.
func (r *resting) Handle(e loop.Event, now time.Time) loop.Want {
	switch {
	case e&loop.Silent != 0:
		r.state.closes = true
	case e&loop.Woken == 0:
		return r.look(now)
	}
	return loop.Nothing
}

// look reads what has arrived. An empty line is not a request, nor is part of a TLS
// record, but one may follow.
func (r *resting) look(now time.Time) loop.Want {
	var err error
	if s, ok := r.Conn.(*secureConn); ok {
		err = s.tryFill(&r.ahead)
	} else {
		err = r.watched.TryFill(&r.ahead)
	}
	if errors.Is(err, socket.ErrWouldWait) {
		return r.restOn(now, loop.Source)
	}
	if r.ahead.Drop(r.guard.blank(r.ahead.Bytes())); err == nil && r.ahead.Empty() {
		return r.restOn(now, loop.Turn)
	}
	r.state.closes = err != nil
	return loop.Nothing
}

// restOn waits on after something that is not a request, which does not extend the time
// for one.
func (r *resting) restOn(now time.Time, want loop.Want) loop.Want {
	if now.After(r.state.restsUntil) {
		r.state.closes = true
		return loop.Nothing
	}
	(*wire)(r).rest()
	return want
}

// Ended implements loop.Stream.
func (r *resting) Ended(fault *loop.Fault) {
	switch {
	case fault != nil:
		r.broke(fault.Value, fault.Stack)
	case r.state.closes:
		go r.leave()
	default:
		go r.serve()
	}
}

// broke ends the connection after a panic.
func (r *resting) broke(fault any, stack []byte) {
	r.server.panickedAt(fault, stack)
	(*Conn)(r).Abandon()
	go r.leave()
}

// begin starts the loop for the connections that wait; end ends it. It starts none if
// Shutdown has begun.
func (l *lending) begin(idle time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over.Load() {
		return nil
	}
	waiting, err := loop.New(idle)
	if waiting == nil {
		return err
	}
	l.done = make(chan struct{})
	l.loop.Store(waiting)
	go func() { waiting.Run(); close(l.done) }()
	return nil
}

// turnAway closes the connections that wait, and has connections closed when they are
// given back.
func (l *lending) turnAway() {
	l.mu.Lock()
	l.over.Store(true)
	l.mu.Unlock()
	if waiting := l.loop.Load(); waiting != nil {
		waiting.WakeAll()
	}
}

// end waits until every connection has been given back and is served no more, or ctx
// ends.
func (l *lending) end(ctx context.Context) {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for done := false; l.lent.Load()+l.again.Load() > 0 && !done; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			done = true
		}
	}
	if waiting := l.loop.Load(); waiting != nil {
		waiting.Close()
		<-l.done
	}
}
