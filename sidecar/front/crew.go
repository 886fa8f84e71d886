package front

import "sync"

// mostIdle is how many hands wait for work. Each keeps a stack of some 16 KB.
const mostIdle = 16

// A crew makes handshakes, each on a goroutine that is not its connection's: the
// stack that a handshake needs would stay with the connection for as long as it
// lives. What has grown once serves the next one.
type crew struct {
	mu    sync.Mutex
	idle  []*hand // the last one is the warmest
	ended bool
}

// A hand is a goroutine that makes one handshake after the other.
type hand struct {
	work chan *secureConn
	done chan error
}

// shake makes the handshake of a connection.
func (c *crew) shake(s *secureConn) error {
	h := c.call()
	h.work <- s
	return <-h.done
}

func (c *crew) call() *hand {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.idle); n > 0 {
		h := c.idle[n-1]
		c.idle = c.idle[:n-1]
		return h
	}
	h := &hand{make(chan *secureConn, 1), make(chan error, 1)}
	go c.run(h)
	return h
}

func (c *crew) run(h *hand) {
	for s := range h.work {
		h.done <- s.Handshake()
		if !c.rest(h) {
			return
		}
	}
}

// rest lets a hand wait for work, unless enough do.
func (c *crew) rest(h *hand) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || len(c.idle) == mostIdle {
		return false
	}
	c.idle = append(c.idle, h)
	return true
}

// end lets all go that wait; the others go when their work is done.
func (c *crew) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	for _, h := range c.idle {
		close(h.work)
	}
	c.idle = nil
}
