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

// newcomerGrace is how long a connection that was just accepted may be silent
// before it makes room for another.
const newcomerGrace = time.Second

// victimsAtOnce is how many idle connections one look over all of them finds, so
// that a flood of newcomers does not cost a look each.
const victimsAtOnce = 64

// What Conn.idle holds: since when the connection may make room for another, or
// one of these. A Read that brings bytes makes it busy, Rest makes it idle, both
// in the serving goroutine; only the goroutine that needs room makes it evicted.
const (
	busy    int64 = 0
	evicted int64 = -1
)

var epoch = time.Now().Add(-time.Nanosecond)

// instant is the time on the monotonic clock, above 0.
func instant() int64 { return int64(time.Since(epoch)) }

// Rest says that nothing is expected of the connection but a new request: until
// its next byte comes, and once grace is over, it may be closed to make room for
// a new one. A Read then returns io.EOF. It is for the serving goroutine.
func (c *Conn) Rest(grace time.Duration) {
	if old := c.idle.Load(); old == evicted || !c.idle.CompareAndSwap(old, instant()+int64(grace)) {
		return
	}
	if c.listener.seats.crowded.Load() {
		select {
		case c.listener.seats.rested <- struct{}{}:
		default:
		}
	}
}

// woke ends the rest of a connection whose Read has returned. Bytes that come at
// the moment in which it makes room are lost, as with any server that closes an
// idle connection; the client's kernel gets a reset for them.
func (c *Conn) woke(n int, err error) (int, error) {
	since := c.idle.Load()
	if since == busy || n > 0 && c.idle.CompareAndSwap(since, busy) {
		return n, err
	}
	if c.idle.Load() == evicted {
		return 0, io.EOF
	}
	return n, err
}

// makeWay closes the connection, if it has been idle since then, nothing has come
// that its goroutine has not seen yet, and no call waits.
func (c *Conn) makeWay(since int64) bool {
	if c.state.Load()&watched != 0 || !c.silent() || !c.idle.CompareAndSwap(since, evicted) {
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

// The seats are those of open connections. One that is idle gives up its own for a
// newcomer.
type seats struct {
	register  *register
	taken     chan struct{} // a token for each connection that is open; nil: no limit
	crowded   atomic.Bool   // somebody waits for a seat
	rested    chan struct{} // told then of a connection that came to rest
	evictions atomic.Uint64

	mu      sync.Mutex
	victims []victim // found idle and not looked at again yet
}

// evict closes the connection that has been idle for longest. If there is none,
// it returns after how long there may be one.
func (s *seats) evict() (done bool, next time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range 2 {
		for len(s.victims) > 0 {
			v := s.victims[0]
			s.victims = s.victims[1:]
			if v.conn.makeWay(v.since) {
				s.evictions.Add(1)
				return true, 0
			}
		}
		s.victims, next = s.register.idle()
	}
	s.victims = nil
	return false, next
}

// idle finds those that may make room, the longest idle first, or when there may
// be one.
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

// take takes a seat for one more connection, which one that idles gives up if need
// be; false once closed is closed.
func (s *seats) take(closed <-chan struct{}) bool {
	if s.taken == nil {
		return true
	}
	defer s.crowded.Store(false)
	for {
		select {
		case <-closed:
			return false
		case s.taken <- struct{}{}:
			return true
		default:
		}
		s.crowded.Store(true) // before the look, so that whoever rests after it tells
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

// isExhausted reports whether accept failed for want of descriptors.
func isExhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
