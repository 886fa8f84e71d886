package front

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// A Conn whose answer is a stream can be lent: its goroutine ends, and with it go the
// stack and fasthttp's context, until the stream has ended and the connection is
// given back. It then waits for the next request with next to nothing, and is served
// again when that comes.

// lending is where the Server's lent connections are counted, and those kept that
// were given back and wait.
type lending struct {
	lent atomic.Int64 // and not with fasthttp again

	mu      sync.Mutex
	resting map[*Conn]struct{}
	over    bool // Shutdown has begun
}

// CanLend reports whether Lend works: the connection is plain TCP, and has a
// descriptor.
func (c *Conn) CanLend() bool {
	_, secure := c.Conn.(*secureConn)
	return !secure && c.ctx != nil && c.watched.CanTry()
}

// Lend has begin called once the goroutine that serves the connection has let go of
// it, on that goroutine, but after all its handlers: always, once. From then on the
// answer is in other hands, until GiveBack. It must be the last thing that is done
// with c where it is served.
func (c *Conn) Lend(begin func()) {
	c.begin = begin
	c.server.lending.lent.Add(1)
	c.ctx.HijackSetNoResponse(true)
	c.ctx.Hijack(func(net.Conn) {})
}

// SetDeadline never fails: fasthttp would not lend out a connection that was closed
// meanwhile, and nobody would end its request.
func (c *Conn) SetDeadline(t time.Time) error {
	_ = c.Conn.SetDeadline(t)
	return nil
}

// Control has f look at the connection's descriptor, see syscall.RawConn.
func (c *Conn) Control(f func(fd uintptr)) error { return c.watched.Control(f) }

// TryWrite writes what the client takes of p at once.
func (c *Conn) TryWrite(p []byte) (int, error) {
	c.watched.ArmWrite()
	return c.watched.TryWrite(p)
}

// lendOut hears of all that happens to connections. Only when it is told that one is
// hijacked has fasthttp forgotten it.
func lendOut(nc net.Conn, state fasthttp.ConnState) {
	if c, ok := nc.(*Conn); ok && state == fasthttp.StateHijacked {
		begin := c.begin
		c.begin = nil
		begin()
	}
}

// GiveBack ends the lending, once the answer has ended: it waits for the next request
// and serves it, or closes the connection, and returns when all that is done. It
// needs a goroutine of its own.
func (c *Conn) GiveBack() {
	c.finish()
	l := &c.server.lending
	served := !c.state.closes && c.awaitRequest()
	l.lent.Add(-1)
	if !served {
		_ = c.Close()
		return
	}
	_ = c.server.http.ServeConn(c)
}

// awaitRequest waits for the next request as fasthttp does, which would take the
// connection for a new one: with the time-out between two requests, and without a
// word when that is over.
func (c *Conn) awaitRequest() bool {
	if !c.ahead.Empty() {
		return true
	}
	l := &c.server.lending
	if !l.rest(c) {
		return false
	}
	defer l.woke(c)
	idle := c.server.o.IdleTimeout
	if idle <= 0 {
		idle = c.server.o.ReadTimeout
	}
	if idle > 0 && c.SetReadDeadline(time.Now().Add(idle)) != nil {
		return false
	}
	c.rest()
	return c.ahead.Fill(c.Conn) == nil
}

// rest notes that c waits for a request; false once Shutdown has begun.
func (l *lending) rest(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return false
	}
	if l.resting == nil {
		l.resting = make(map[*Conn]struct{})
	}
	l.resting[c] = struct{}{}
	return true
}

func (l *lending) woke(c *Conn) {
	l.mu.Lock()
	delete(l.resting, c)
	l.mu.Unlock()
}

// end closes the connections that wait, and has those close that are given back.
func (l *lending) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	for c := range l.resting {
		_ = c.watched.Close()
	}
}

// wait waits until every connection was given back, or ctx ends.
func (l *lending) wait(ctx context.Context) {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for l.lent.Load() > 0 {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
