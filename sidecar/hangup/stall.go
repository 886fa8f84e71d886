package hangup

import (
	"time"

	"github.com/usher-sidecar/usher/sidecar/socket"
)

// sweepsPerTimeout is how often connections are checked within WriteTimeout, and
// shortestSweep the least time between two checks.
const (
	sweepsPerTimeout = 8
	shortestSweep    = 10 * time.Millisecond
)

// taken is how much a client has taken of what was sent to it.
type taken struct {
	acked  uint64 // bytes
	window uint32 // bytes it can take now
}

// A stall is what the sweep knows of a connection. Only the sweep uses it.
type stall struct {
	taken
	since time.Time // when that was first seen with more left to take; zero: nothing was left
}

// Stalled reports whether the connection was cut because the client took nothing for
// Options.WriteTimeout.
func (c *Conn) Stalled() bool { return c.stalled.Load() }

// sweep cuts, until Shutdown, the connections of clients that take nothing: for
// WriteTimeout they neither acknowledged a byte nor opened their window, although there
// was something for them to take. Clients that take a little, however slowly, stay. If
// nothing at all was heard from a client, because keep-alive probes had gone unanswered
// before something was written to it, the time counts from when it was last heard.
// Otherwise a token every now and then would restart it each time.
//
// No write deadline can tell slow from stalled: the kernel takes a whole write long
// before the client does, and wakes a writer only when much of its buffer is free again.
// Nor can TCP_USER_TIMEOUT: a window that opens by less than one segment does not restart
// it.
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
			if c.stall.lasts(&c.sock, time.Now(), timeout) {
				c.stalled.Store(true)
				c.hangUp()
				c.Reset()
			}
		}
		clear(conns) // do not keep closed connections alive
	}
}

// lasts reports whether the client at the other end of sock has taken nothing for
// timeout.
func (s *stall) lasts(sock *socket.Conn, now time.Time, timeout time.Duration) bool {
	at, silence, pending := progress(sock)
	return s.sees(at, silence, pending, now, timeout)
}

// ackDelay is how long a client that takes everything may wait before it says so.
const ackDelay = 200 * time.Millisecond

// sees is lasts with what progress returned.
func (s *stall) sees(at taken, silence time.Duration, pending bool, now time.Time, timeout time.Duration) bool {
	switch {
	case !pending:
		s.since = time.Time{}
	case s.since.IsZero() || at != s.taken:
		s.taken, s.since = at, now
	default:
		waited := now.Sub(s.since)
		return waited >= timeout || silence >= timeout && waited >= ackDelay
	}
	return false
}
