package front

import "sync"

// mostIdle is how many idle workers are kept. Each keeps a stack of some 16 KB.
const mostIdle = 16

// A crew is a pool of goroutines that make handshakes. On the connection's own goroutine
// the stack that a handshake needs would stay for as long as the connection lives; a
// worker's grows once and serves the next handshake.
type crew struct {
	panicked func(fault any)

	mu    sync.Mutex
	idle  []*worker // the last one was used last
	ended bool
}

// A worker is a goroutine that makes one handshake after the other.
type worker struct {
	work chan *secureConn
	done chan error // unbuffered: a worker rests only once its result was taken
}

// shake makes the handshake of a connection.
func (c *crew) shake(s *secureConn) error {
	w := c.call()
	w.work <- s
	return <-w.done
}

func (c *crew) call() *worker {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.idle); n > 0 {
		w := c.idle[n-1]
		c.idle = c.idle[:n-1]
		return w
	}
	w := &worker{make(chan *secureConn, 1), make(chan error)}
	go c.run(w)
	return w
}

func (c *crew) run(w *worker) {
	for s := range w.work {
		w.done <- c.handshake(s)
		if !c.rest(w) {
			return
		}
	}
}

// handshake keeps a panic to the connection that caused it: of crypto/tls, or of what it
// asks for a certificate.
func (c *crew) handshake(s *secureConn) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			c.panicked(fault)
			err = errPanicked
		}
	}()
	return s.Handshake()
}

// rest keeps a worker for the next handshake, unless enough are idle.
func (c *crew) rest(w *worker) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || len(c.idle) == mostIdle {
		return false
	}
	c.idle = append(c.idle, w)
	return true
}

// end ends the idle workers; the others end when their work is done.
func (c *crew) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	for _, w := range c.idle {
		close(w.work)
	}
	c.idle = nil
}
