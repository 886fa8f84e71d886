package hangup

import (
	"cmp"
	"errors"
	"io"
	"slices"
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
	if c.listener.crowded.Load() {
		select {
		case c.listener.rested <- struct{}{}:
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

// evict closes the connection that has been idle for longest. If there is none,
// it returns after how long there may be one.
func (l *Listener) evict() (done bool, next time.Duration) {
	l.evicting.Lock()
	defer l.evicting.Unlock()
	for range 2 {
		for len(l.victims) > 0 {
			v := l.victims[0]
			l.victims = l.victims[1:]
			if v.conn.makeWay(v.since) {
				l.evictions.Add(1)
				return true, 0
			}
		}
		l.victims, next = l.idle()
	}
	l.victims = nil
	return false, next
}

// idle finds those that may make room, the longest idle first, or when there may
// be one.
func (l *Listener) idle() (found []victim, next time.Duration) {
	now := instant()
	next = newcomerGrace
	l.mu.Lock()
	for _, c := range l.conns {
		switch since := c.idle.Load(); {
		case since == busy || since == evicted:
		case since <= now:
			found = append(found, victim{c, since})
		default:
			next = min(next, time.Duration(since-now))
		}
	}
	l.mu.Unlock()
	slices.SortFunc(found, func(a, b victim) int { return cmp.Compare(a.since, b.since) })
	return slices.Clone(found[:min(len(found), victimsAtOnce)]), next
}

// enter takes a place for one more connection, which one that idles gives up if
// need be; false after Close.
func (l *Listener) enter() bool {
	if l.room == nil {
		return true
	}
	defer l.crowded.Store(false)
	for {
		select {
		case <-l.closed:
			return false
		case l.room <- struct{}{}:
			return true
		default:
		}
		l.crowded.Store(true) // before the look, so that whoever rests after it tells
		done, next := l.evict()
		if done {
			continue
		}
		timer := time.NewTimer(max(next, time.Millisecond))
		select {
		case <-l.closed:
		case l.room <- struct{}{}:
			timer.Stop()
			return true
		case <-l.rested:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// isExhausted reports whether accept failed for want of descriptors.
func isExhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}
