package upstream

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A Client makes and keeps connections to one model server. Make it with New;
// it is safe for concurrent use.
type Client struct {
	o       Options
	dialer  net.Dialer
	buffers sync.Pool // of *[]byte, ReadBufferSize long: where a line reads to

	dials, reused, replaced atomic.Uint64

	mu      sync.Mutex
	idle    []*line // the latest last
	closed  bool
	sweeper *time.Timer // set while idle is not empty
}

// New checks the options. It connects to nothing yet.
func New(o Options) (*Client, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	c := &Client{o: o}
	// TCP_NODELAY and keep-alive probes are what the dialer does by itself.
	c.dialer.Timeout = o.ConnectTimeout
	c.buffers.New = func() any { b := make([]byte, o.ReadBufferSize); return &b }
	return c, nil
}

// Acquire takes a kept connection that is still alive, the latest first, or
// makes one. ctx ends a connect under way, and has no say once Acquire has
// returned. Errors: ErrUnreachable, or the cause of ctx's end.
func (c *Client) Acquire(ctx context.Context) (*Conn, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for l := c.pop(); l != nil; l = c.pop() {
		if l.silent() {
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
	return l, nil
}

// pop takes the latest idle connection, where that is not too old; the ones
// behind it are older still, and left to the sweeper.
func (c *Client) pop() *line {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.idle) - 1
	if last < 0 || time.Since(c.idle[last].idleSince) >= c.o.KeepIdle {
		return nil
	}
	l := c.idle[last]
	c.idle[last] = nil
	c.idle = c.idle[:last]
	return l
}

// push keeps a connection.
func (c *Client) push(l *line) {
	c.mu.Lock()
	keep := !c.closed
	if keep {
		l.idleSince = time.Now()
		c.idle = append(c.idle, l)
		if c.sweeper == nil {
			c.sweeper = time.AfterFunc(c.o.KeepIdle, c.sweep)
		}
	}
	c.mu.Unlock()
	if !keep {
		l.close()
	}
}

// sweep closes what has been idle for too long. It runs when the oldest may be,
// on a timer's goroutine, where nothing blocks it.
func (c *Client) sweep() {
	c.mu.Lock()
	old := 0
	for old < len(c.idle) && time.Since(c.idle[old].idleSince) >= c.o.KeepIdle {
		old++
	}
	expired := append([]*line(nil), c.idle[:old]...)
	left := copy(c.idle, c.idle[old:])
	clear(c.idle[left:])
	c.idle = c.idle[:left]
	c.sweeper = nil
	if left > 0 {
		c.sweeper = time.AfterFunc(c.o.KeepIdle-time.Since(c.idle[0].idleSince), c.sweep)
	}
	c.mu.Unlock()
	closeAll(expired)
}

func closeAll(lines []*line) {
	for _, l := range lines {
		l.close()
	}
}

// Close closes the idle connections; those in use are closed when they are
// done. It may be called more than once.
func (c *Client) Close() {
	c.mu.Lock()
	idle := c.idle
	c.idle, c.closed = nil, true
	if c.sweeper != nil {
		c.sweeper.Stop()
		c.sweeper = nil
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
