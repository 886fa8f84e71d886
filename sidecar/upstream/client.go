package upstream

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Client makes and keeps connections to one model server. Make it with New;
// it is safe for concurrent use.
type Client struct {
	o       Options
	dialer  net.Dialer
	buffers sync.Pool // of *[]byte, ReadBufferSize long: what lines read into

	dials, reused, replaced atomic.Uint64

	restPatience time.Duration // the constant, except in tests

	mu      sync.Mutex
	idle    []*line // the most recently used last
	closed  bool
	sweeper *time.Timer // nil: no line was idle yet
	sweeps  time.Time   // when it runs next; zero: not scheduled
}

// New checks the options. It connects to nothing yet.
func New(o Options) (*Client, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	c := &Client{o: o, restPatience: restPatience}
	c.dialer.Timeout = o.ConnectTimeout
	// A model server that vanished is given up after a minute; the dialer's
	// defaults take two and a half.
	c.dialer.KeepAliveConfig = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 9}
	c.buffers.New = func() any { b := make([]byte, o.ReadBufferSize); return &b }
	return c, nil
}

// Acquire returns a kept connection that is still alive, the most recently used first, or
// a new one. ctx cancels a connect under way; it has no effect once Acquire has returned.
// Errors: ErrUnreachable, or the cause of ctx's end.
func (c *Client) Acquire(ctx context.Context) (*Conn, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for l := c.pop(); l != nil; l = c.pop() {
		if silent, _ := l.sock.Silent(); silent {
			c.reused.Add(1)
			return newConn(c, l, true), nil
		}
		c.replaced.Add(1)
		l.close()
	}
	l, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	return newConn(c, l, false), nil
}

func (c *Client) dial(ctx context.Context) (*line, error) {
	nc, err := c.dialer.DialContext(ctx, c.o.Network, c.o.Address)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	c.dials.Add(1)
	l, err := newLine(nc, &c.buffers)
	if err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	l.limit = c.o.KeepIdle
	return l, nil
}

// pop takes the most recently used idle connection that is not too old. The sweeper
// closes those that are.
func (c *Client) pop() *line {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.idle) == 0 {
		return nil
	}
	now := time.Now()
	for i, l := range slices.Backward(c.idle) {
		if now.Before(l.until) {
			c.idle = slices.Delete(c.idle, i, i+1)
			return l
		}
	}
	return nil
}

// push keeps a connection. If it was not used, its earlier expiry still holds.
func (c *Client) push(l *line, used bool) {
	now := time.Now()
	if used || l.until.IsZero() {
		l.until = now.Add(l.limit)
	}
	c.mu.Lock()
	keep := !c.closed && now.Before(l.until)
	if keep {
		c.idle = append(c.idle, l)
		c.sweepAt(l.until, now)
	}
	c.mu.Unlock()
	if !keep {
		l.close()
	}
}

// sweepAt schedules the sweeper for a time, unless it runs earlier anyway. c.mu must be
// held.
func (c *Client) sweepAt(at, now time.Time) {
	if !c.sweeps.IsZero() && !at.Before(c.sweeps) {
		return
	}
	c.sweeps = at
	if c.sweeper == nil {
		c.sweeper = time.AfterFunc(at.Sub(now), c.sweep)
	} else {
		c.sweeper.Reset(at.Sub(now))
	}
}

// sweep closes the connections that have been idle for too long. A timer runs it when the
// first of them may be due.
func (c *Client) sweep() {
	var expired []*line
	c.mu.Lock()
	now := time.Now()
	c.idle = slices.DeleteFunc(c.idle, func(l *line) bool {
		old := !now.Before(l.until)
		if old {
			expired = append(expired, l)
		}
		return old
	})
	c.sweeps = time.Time{}
	for _, l := range c.idle {
		c.sweepAt(l.until, now)
	}
	c.mu.Unlock()
	closeAll(expired)
}

func closeAll(lines []*line) {
	for _, l := range lines {
		l.close()
	}
}

// Close closes the idle connections. Those in use are closed when their use ends. It may
// be called more than once.
func (c *Client) Close() {
	c.mu.Lock()
	idle := c.idle
	c.idle, c.closed = nil, true
	if c.sweeper != nil {
		c.sweeper.Stop()
	}
	c.mu.Unlock()
	closeAll(idle)
}

// Stats returns what the client has done so far.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	idle := len(c.idle)
	c.mu.Unlock()
	return Stats{Dials: c.dials.Load(), Reused: c.reused.Load(), Replaced: c.replaced.Load(), Idle: idle}
}
