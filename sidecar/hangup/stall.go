package hangup

import "time"

// sweepsPerTimeout is how often connections are looked at within the time that a
// client may take nothing, and shortestSweep the time between two looks at least.
const (
	sweepsPerTimeout = 8
	shortestSweep    = 10 * time.Millisecond
)

// taken is how far a client has come with taking what was sent to it.
type taken struct {
	acked  uint64 // bytes
	window uint32 // that it can take now
}

// A stall is what the sweep knows of a connection. Only the sweep looks at it.
type stall struct {
	taken
	since time.Time // when that was first seen with more to take; zero: nothing was
}

// Stalled reports whether the connection was ended because the client took
// nothing for Options.WriteTimeout.
func (c *Conn) Stalled() bool { return c.stalled.Load() }

// sweep ends, until Shutdown, the connections of clients that take nothing: for
// WriteTimeout they neither acknowledged a byte nor opened their window, although
// something is there for them. Those that take a little, however slowly, stay. For
// one from which nothing at all was heard the time runs since then, as keep-alive
// probes went unanswered before something was written to it: otherwise a token
// every now and then would have each start anew.
//
// No deadline of a write can tell the two apart: the kernel takes a write whole
// long before the client does, and wakes a writer only when much of its buffer is
// free again. Nor can TCP_USER_TIMEOUT: a window that opens by less than one
// segment does not restart it.
func (l *Listener) sweep() {
	timeout := l.options.WriteTimeout
	ticker := time.NewTicker(max(timeout/sweepsPerTimeout, shortestSweep))
	defer ticker.Stop()
	var conns []*Conn
	for {
		select {
		case <-l.ended:
			return
		case <-ticker.C:
		}
		conns = l.open.list(conns[:0])
		for _, c := range conns {
			if c.stands(time.Now(), timeout) {
				c.stalled.Store(true)
				c.hangUp()
				c.Reset()
			}
		}
		clear(conns) // closed ones are not to be kept
	}
}

// stands reports whether the client has taken nothing for that long.
func (c *Conn) stands(now time.Time, timeout time.Duration) bool {
	at, silence, pending := c.progress()
	s := &c.stall
	switch {
	case !pending:
		s.since = time.Time{}
	case s.since.IsZero() || at != s.taken:
		s.taken, s.since = at, now
	default:
		return max(silence, now.Sub(s.since)) >= timeout
	}
	return false
}
