package sidecar

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/usher-sidecar/usher/sidecar/front"
	"github.com/usher-sidecar/usher/sidecar/loop"
	"github.com/usher-sidecar/usher/sidecar/upstream"
)

// A call is the lifetime of one request: a context that ends when the client
// leaves or the drain's time is up, and that closes the connection to the model
// server (the line) when it ends. fasthttp's RequestCtx will not do: it is neither
// cancelled nor valid for as long as a stream lasts.
//
// cancel sets the cause and takes the line in one step under mu. So a line that was
// bound before is closed by cancel, and one that comes later is refused by bind: no
// line outlives its call.
type call struct {
	mu    sync.Mutex
	done  chan struct{} // made by the first Done: most requests never wait
	after *afterFunc    // nil: none, as in most calls
	cause error
	line  *upstream.Conn
	loop  *loop.Member // to wake when the call ends; nil: a goroutine waits for it
	over  bool         // the client's connection no longer belongs to this call
}

// An afterFunc is a function that was given to AfterFunc.
type afterFunc struct {
	f    func()
	next *afterFunc
}

var closedChannel = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Deadline implements context.Context: each wait has a deadline of its own.
func (c *call) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value implements context.Context.
func (c *call) Value(any) any { return nil }

// Done implements context.Context.
func (c *call) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		if c.cause != nil {
			c.done = closedChannel
		} else {
			c.done = make(chan struct{})
		}
	}
	return c.done
}

// AfterFunc calls f on its own goroutine once the call ends, unless stop is called
// first. Package context uses it; without it, each context derived from a call, as a
// dialer derives one, would need a goroutine that waits for Done.
func (c *call) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		go f()
		return func() bool { return false }
	}
	entry := &afterFunc{f, c.after}
	c.after = entry
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for at := &c.after; *at != nil; at = &(*at).next {
			if *at == entry {
				*at = entry.next
				return true
			}
		}
		return false
	}
}

// Err implements context.Context.
func (c *call) Err() error {
	if c.why() != nil {
		return context.Canceled
	}
	return nil
}

// why returns what ended the call, nil while it lives.
func (c *call) why() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// ClientGone implements hangup.Call. It does not block: cancelling a line
// closes a socket.
func (c *call) ClientGone() { c.cancel(front.ErrGone) }

// cancel ends the call; the first cause stays.
func (c *call) cancel(cause error) {
	c.mu.Lock()
	line, member := c.line, c.loop
	if c.cause == nil {
		c.cause = cause
		if c.done != nil && c.done != closedChannel {
			close(c.done)
		}
		for a := c.after; a != nil; a = a.next {
			go a.f()
		}
		c.after = nil
	}
	c.line = nil
	c.mu.Unlock()
	if line != nil {
		line.Cancel()
	}
	if member != nil {
		member.Wake()
	}
}

// attach wakes m when the call ends, or now if it has. Nobody waits for Done any
// more.
func (c *call) attach(m *loop.Member) {
	c.mu.Lock()
	c.loop = m
	ended := c.cause != nil
	if !ended {
		c.done, c.after = nil, nil
	}
	c.mu.Unlock()
	if ended {
		m.Wake()
	}
}

// bind ties line to the call. If the call has ended, it returns the cause.
func (c *call) bind(line *upstream.Conn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil {
		c.line = line
	}
	return c.cause
}

// unbind must come before the line is closed or pooled, so that a late cancel
// cannot hit the next request on it.
func (c *call) unbind() {
	c.mu.Lock()
	c.line, c.loop = nil, nil
	c.mu.Unlock()
}

// end says that the call is over, and that its connections may be used by others.
func (c *call) end() {
	c.mu.Lock()
	c.line, c.loop, c.over = nil, nil, true
	c.mu.Unlock()
}

// calls holds the requests in flight, so that the drain can wait for them and, when
// its time is up, cut them.
type calls struct {
	over  atomic.Bool // cut began
	mu    sync.Mutex
	live  map[*call]struct{}
	short int           // how many cut broke off
	empty chan struct{} // closed when live becomes empty; made by the first idle
}

func newCalls() *calls { return &calls{live: make(map[*call]struct{})} }

func (c *calls) add(x *call) {
	c.mu.Lock()
	c.live[x] = struct{}{}
	c.mu.Unlock()
}

// remove forgets x. broken says that the client did not get a complete answer.
func (c *calls) remove(x *call, broken bool) {
	broken = broken && errors.Is(x.why(), errCut)
	c.mu.Lock()
	delete(c.live, x)
	if broken {
		c.short++
	}
	if len(c.live) == 0 && c.empty != nil {
		close(c.empty)
		c.empty = nil
	}
	c.mu.Unlock()
}

// idle returns a channel that is closed as soon as nothing is in flight.
func (c *calls) idle() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.live) == 0 {
		return closedChannel
	}
	if c.empty == nil {
		c.empty = make(chan struct{})
	}
	return c.empty
}

// bind is x.bind, but refuses from the moment that cut begins. A request that is cut
// frees its slot for one that waits; without this, that one could be sent, and spend
// its ticket, just before cut reaches it.
func (c *calls) bind(x *call, line *upstream.Conn) error {
	if c.over.Load() {
		x.cancel(errCut)
	}
	return x.bind(line)
}

// cut cancels every request in flight. It does not harm one whose answer is already
// complete and only has to be recorded.
func (c *calls) cut(cause error) {
	c.over.Store(true)
	c.mu.Lock()
	live := make([]*call, 0, len(c.live))
	for x := range c.live {
		live = append(live, x)
	}
	c.mu.Unlock()
	for _, x := range live {
		x.cancel(cause)
	}
}

// broken returns how many requests cut broke off; all of them once idle.
func (c *calls) broken() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.short
}
