package hangup

import (
	"cmp"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// newcomerGrace is how long a connection may send nothing after it was accepted before it
// may be closed to make room.
const newcomerGrace = time.Second

// victimsAtOnce bounds the idle connections that one scan of all connections finds, so
// that a flood of new connections does not cost a scan each.
const victimsAtOnce = 64

// An idle holds the time from which on a connection may be closed to make room, or one of
// these values. The serving goroutine makes it busy when a Read brings bytes, and idle
// with Rest; only the goroutine that needs room makes it evicted.
type idle struct{ atomic.Int64 }

const (
	busy    int64 = 0
	evicted int64 = -1
)

var epoch = time.Now().Add(-time.Nanosecond)

// instant returns the time on the monotonic clock, always above 0.
func instant() int64 { return int64(time.Since(epoch)) }

// Rest says that nothing but a new request is expected on the connection: until its next
// byte arrives, and once grace is over, it may be closed to make room for a new
// connection. A Read then returns io.EOF. It is for the serving goroutine.
func (c *Conn) Rest(grace time.Duration) {
	if old := c.idle.Load(); old == evicted || !c.idle.CompareAndSwap(old, instant()+int64(grace)) {
		return
	}
	if c.listener.seats.crowded.Load() > 0 {
		select {
		case c.listener.seats.rested <- struct{}{}:
		default:
		}
	}
}

// woke ends the rest of a connection whose Read has returned. Bytes that arrive just as
// the connection is evicted are lost, as with any server that closes an idle connection;
// the client's kernel gets a reset for them.
func (i *idle) woke(n int, err error) (int, error) {
	since := i.Load()
	if since == busy || n > 0 && since != evicted && i.CompareAndSwap(since, busy) {
		return n, err
	}
	if i.Load() == evicted {
		return 0, io.EOF
	}
	return n, err
}

// evict closes the connection if it has been idle since the given time, nothing has
// arrived that its goroutine has not read yet, and no call is being watched.
func (c *Conn) evict(since int64) bool {
	if c.state.Load()&watched != 0 || !silent(&c.sock) || !c.idle.CompareAndSwap(since, evicted) {
		return false
	}
	_ = c.cut()
	return true
}

// A victim is a connection that was found idle.
type victim struct {
	conn  *Conn
	since int64
}

// The seats bound the open connections. An idle connection gives up its seat to a new
// one.
type seats struct {
	register  *register
	taken     chan struct{} // holds a token for each open connection; nil: no limit
	crowded   atomic.Int32  // how many new connections wait for a seat
	rested    chan struct{} // while crowded, gets a token when a connection comes to rest
	evictions atomic.Uint64

	mu      sync.Mutex
	victims []victim // found idle by the last scan, not tried yet
}

// evict closes the connection that has been idle for longest. If there is none, next is
// how long it takes until there may be one.
func (s *seats) evict() (done bool, next time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range 2 {
		for len(s.victims) > 0 {
			v := s.victims[0]
			s.victims = s.victims[1:]
			if v.conn.evict(v.since) {
				s.evictions.Add(1)
				return true, 0
			}
		}
		s.victims, next = s.register.idle()
	}
	s.victims = nil
	return false, next
}

// idle finds the connections that may be closed to make room, the longest idle first, and
// how long it takes until there may be another.
func (r *register) idle() (found []victim, next time.Duration) {
	now := instant()
	next = newcomerGrace
	r.mu.Lock()
	for _, c := range r.conns {
		switch since := c.idle.Load(); {
		case since == busy || since == evicted:
		case since <= now:
			found = append(found, victim{c, since})
		default:
			next = min(next, time.Duration(since-now))
		}
	}
	r.mu.Unlock()
	slices.SortFunc(found, func(a, b victim) int { return cmp.Compare(a.since, b.since) })
	return slices.Clone(found[:min(len(found), victimsAtOnce)]), next
}

// take takes a seat for one more connection, if need be that of an idle one. It returns
// false once closed is closed, unless there is room: then a client that was accepted
// before is served.
func (s *seats) take(closed <-chan struct{}) bool {
	if s.taken == nil {
		return true
	}
	for waits := false; ; {
		select {
		case s.taken <- struct{}{}:
			return true
		default:
		}
		select {
		case <-closed:
			return false
		default:
		}
		if !waits {
			waits = true
			s.crowded.Add(1) // before the scan, so that a connection that rests after it wakes us
			defer s.crowded.Add(-1)
		}
		done, next := s.evict()
		if done {
			continue
		}
		timer := time.NewTimer(max(next, time.Millisecond))
		select {
		case <-closed:
		case s.taken <- struct{}{}:
			timer.Stop()
			return true
		case <-s.rested:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (s *seats) leave() {
	if s.taken != nil {
		<-s.taken
	}
}

// isExhausted reports whether accept failed for lack of descriptors.
func isExhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
