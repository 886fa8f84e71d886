package front

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/usher-sidecar/usher/sidecar/loop"
	"github.com/usher-sidecar/usher/sidecar/socket"
)

// A Conn whose answer is a stream can be lent: its goroutine ends, and with it go the
// stack and fasthttp's context, until the stream has ended and the connection is
// given back. It then waits for the next request with next to nothing, and is served
// again when that comes.

// lending is where the Server's lent connections are counted, and where those wait
// that were given back.
type lending struct {
	lent atomic.Int64              // and not with fasthttp again
	over atomic.Bool               // Shutdown has begun
	loop atomic.Pointer[loop.Loop] // nil: whoever was given back waits on a goroutine
	done chan struct{}             // closed when the loop has ended
}

// CanLend reports whether Lend works: the connection has a descriptor.
func (c *Conn) CanLend() bool { return c.ctx != nil && c.watched.CanTry() }

// Lend has begin called once the goroutine that serves the connection has let go of
// it, on that goroutine, but after all its handlers: always, once. From then on the
// answer is in other hands, until GiveBack. It must be the last thing that is done
// with c where it is served.
func (c *Conn) Lend(begin func()) {
	c.begin = begin
	c.lent.Store(true)
	c.server.lending.lent.Add(1)
	// fasthttp closes the connection then, which Close knows better. A hijack would
	// let go of it, too, but costs a goroutine.
	c.ctx.SetConnectionClose()
}

// Control has f look at the connection's descriptor, see syscall.RawConn.
func (c *Conn) Control(f func(fd uintptr)) error { return c.watched.Control(f) }

// TryWrite writes what the client takes of p at once. Where n is less than len(p), the
// next write must begin with p[n:].
func (c *Conn) TryWrite(p []byte) (n int, err error) {
	c.watched.ArmWrite()
	if s, ok := c.Conn.(*secureConn); ok {
		return s.tryWrite(p)
	}
	return c.watched.TryWrite(p)
}

// lendOut hears of all that happens to connections. Only when it is told that one is
// closed has fasthttp forgotten it.
func lendOut(nc net.Conn, state fasthttp.ConnState) {
	if c, ok := nc.(*wire); ok && state == fasthttp.StateClosed && c.begin != nil {
		begin := c.begin
		c.begin = nil
		begin()
	}
}

// GiveBack ends the lending, once the answer has ended, and does not block: the
// connection is closed, or waits for its next request and is served then.
func (c *Conn) GiveBack() {
	c.finish()
	c.ahead.Drop(c.guard.blank(c.ahead.Bytes()))
	if s, ok := c.Conn.(*secureConn); ok && !c.state.closes && c.ahead.Empty() {
		err := s.fillBuffered(&c.ahead)
		c.state.closes = err != nil && !errors.Is(err, errNothingHere)
	}
	r := (*resting)(c)
	switch {
	case c.state.closes:
		go r.leave() // which may take as long as the client does
	case !c.ahead.Empty() || !r.wait():
		go r.serve()
	}
}

// resting is a Conn that was given back. It waits for its next request as a stream of
// the loop that ends with the first thing that happens.
type resting Conn

// leave closes the connection.
func (r *resting) leave() {
	r.lent.Store(false)
	r.server.lending.lent.Add(-1)
	_ = r.Conn.Close()
}

// serve serves the next requests. Without a loop, on which CanLend's systems count, it
// waits for the first byte as for that of a new connection.
func (r *resting) serve() {
	if r.server.lending.over.Load() && r.ahead.Empty() {
		r.leave()
		return
	}
	r.lent.Store(false)
	r.server.lending.lent.Add(-1)
	_ = r.server.http.ServeConn((*wire)(r))
}

// wait has the loop wait for the next request; false where there is none.
func (r *resting) wait() bool {
	waiting := r.server.lending.loop.Load()
	if waiting == nil {
		return false
	}
	(*wire)(r).rest()
	m := waiting.Register(r, (*Conn)(r), nil)
	r.watched.OnClose(m.Wake)
	if r.server.lending.over.Load() {
		m.Wake()
	}
	if m.Begin() != nil { // it was closed meanwhile, or the kernel has no room
		go r.leave()
	}
	return true
}

// Handle implements loop.Stream. Bytes are read here: whoever serves them has so
// long for the rest of the request, and one who leaves needs no goroutine for that.
func (r *resting) Handle(e loop.Event, _ time.Time) loop.Want {
	switch {
	case e&loop.Silent != 0:
		r.state.closes = true
	case e&loop.Woken == 0:
		return r.look()
	}
	return loop.Nothing
}

// look reads what has come. An empty line is no request; more may be behind it. What
// comes over TLS is read where it is served: it may have to be answered.
func (r *resting) look() loop.Want {
	if _, secure := r.Conn.(*secureConn); secure {
		return loop.Nothing
	}
	err := r.watched.TryFill(&r.ahead)
	if errors.Is(err, socket.ErrWouldWait) {
		return loop.Source
	}
	if r.ahead.Drop(r.guard.blank(r.ahead.Bytes())); err == nil && r.ahead.Empty() {
		(*wire)(r).rest()
		return loop.Turn
	}
	r.state.closes = err != nil
	return loop.Nothing
}

// Ended implements loop.Stream.
func (r *resting) Ended(*loop.Fault) {
	if r.state.closes {
		go r.leave()
	} else {
		go r.serve()
	}
}

// begin readies a loop for those that wait, and end ends it.
func (l *lending) begin(idle time.Duration) error {
	waiting, err := loop.New(idle)
	if waiting == nil {
		return err
	}
	l.done = make(chan struct{})
	l.loop.Store(waiting)
	go func() { waiting.Run(); close(l.done) }()
	return nil
}

// turnAway closes the connections that wait, and has those close that are given back.
func (l *lending) turnAway() {
	l.over.Store(true)
	if waiting := l.loop.Load(); waiting != nil {
		waiting.WakeAll()
	}
}

// end waits until every connection was given back, or ctx ends.
func (l *lending) end(ctx context.Context) {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for done := false; l.lent.Load() > 0 && !done; {
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
