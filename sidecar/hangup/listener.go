package hangup

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A Listener is a net.Listener whose connections are *Conn. Make it with
// Listen; its methods are safe for concurrent use.
type Listener struct {
	inner   tcpListener
	options Options
	watcher *watcher
	room    chan struct{} // a token for each connection that may be open; nil: no limit
	perIP   *census       // nil: no limit
	closed  chan struct{} // closed by Close
	ended   chan struct{} // closed by Shutdown
	once    sync.Once
	watches sync.WaitGroup

	accepted, refused, acceptErrors, hangUps, evictions atomic.Uint64

	crowded  atomic.Bool   // somebody waits for room
	rested   chan struct{} // told then of a connection that came to rest
	evicting sync.Mutex
	victims  []victim // found idle and not looked at again yet

	mu        sync.Mutex
	lastToken uint64
	conns     map[uint64]*Conn // by token: descriptors are used again, tokens never
	down      bool             // Shutdown has begun: no connection is added
}

// tcpListener is the part of *net.TCPListener that is used.
type tcpListener interface {
	net.Listener
	AcceptTCP() (*net.TCPConn, error)
}

// Listen puts a Listener on top of ln, which must be a *net.TCPListener (or have
// its AcceptTCP) and belongs to the Listener from then on. It starts the
// goroutines that watch the connections; Shutdown ends them. Errors:
// ErrListener, ErrOptions, or the kernel's refusal of an epoll instance.
func Listen(ln net.Listener, o Options) (*Listener, error) {
	inner, ok := ln.(tcpListener)
	if !ok {
		return nil, fmt.Errorf("%w: %T", ErrListener, ln)
	}
	o, err := o.validated()
	if err != nil {
		return nil, err
	}
	w, err := newWatcher()
	if err != nil {
		return nil, fmt.Errorf("hangup: %w", err)
	}
	l := &Listener{
		inner: inner, options: o, watcher: w,
		closed: make(chan struct{}), ended: make(chan struct{}),
		rested: make(chan struct{}, 1),
		conns:  make(map[uint64]*Conn),
	}
	if o.MaxConnections > 0 {
		l.room = make(chan struct{}, o.MaxConnections)
	}
	if o.MaxPerIP > 0 {
		l.perIP = newCensus(o.MaxPerIP)
	}
	l.watches.Go(func() { w.run(l.gone) })
	if sweeps && o.WriteTimeout > 0 {
		l.watches.Go(l.sweep)
	}
	return l, nil
}

// Accept waits for a client and then for room, which one that idles makes for it
// (see Options.MaxConnections); what it returns is a *Conn. It survives every failure that may pass (no descriptors left, a client that gave
// up, a network that is down) by counting it and trying again a little later.
// It returns net.ErrClosed after Close.
func (l *Listener) Accept() (net.Conn, error) {
	var delay time.Duration
	for !l.isClosed() {
		c, err := l.accept()
		switch {
		case err == nil:
			l.accepted.Add(1)
			return c, nil
		case errors.Is(err, errCrowded):
		case !errors.Is(err, errUnwatched) && !isTemporary(err):
			return nil, err
		default:
			l.acceptErrors.Add(1)
			if isExhausted(err) {
				if done, _ := l.evict(); done {
					continue
				}
			}
			// Nothing tells when descriptors are free again. A try is cheap,
			// so even the longest pause is short.
			delay = min(max(2*delay, time.Millisecond), 100*time.Millisecond)
			l.pause(delay)
		}
	}
	return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
}

// errCrowded tells that a connection was refused because of MaxPerIP.
var errCrowded = errors.New("too many connections from one address")

// errUnwatched wraps the kernel's refusal to watch one more connection.
var errUnwatched = errors.New("hangup: connection cannot be watched")

// accept takes one client, if it is within its limit, waits for room, and has it
// watched.
func (l *Listener) accept() (*Conn, error) {
	tcp, err := l.inner.AcceptTCP()
	if err != nil {
		return nil, err
	}
	c := &Conn{TCPConn: tcp, listener: l}
	if err := c.sock.Init(tcp); err != nil {
		_ = tcp.Close()
		return nil, fmt.Errorf("%w: %w", errUnwatched, err)
	}
	if l.perIP != nil {
		peer := addrOf(tcp.RemoteAddr())
		if l.options.Uncounted == nil || !l.options.Uncounted(peer) {
			c.origin = OriginOf(peer)
		}
		if !l.perIP.add(c.origin) {
			l.refused.Add(1)
			_ = tcp.SetLinger(0) // no TIME_WAIT of ours for a flood
			_ = tcp.Close()
			return nil, errCrowded
		}
	}
	if !l.enter() {
		if l.perIP != nil {
			l.perIP.remove(c.origin)
		}
		_ = tcp.Close()
		return nil, net.ErrClosed
	}
	c.idle.Store(instant() + int64(newcomerGrace))
	// Into the table first: the kernel tells of a FIN only once, perhaps before
	// add returns, and what is not in the table then is lost.
	l.mu.Lock()
	l.lastToken++
	c.token = l.lastToken
	l.conns[c.token] = c
	down := l.down
	l.mu.Unlock()
	if down {
		err = net.ErrClosed
	} else {
		err = l.watcher.add(tcp, c.token, l.options)
	}
	if err != nil {
		_ = c.cut()
		return nil, fmt.Errorf("%w: %w", errUnwatched, err)
	}
	return c, nil
}

// pause waits for d or for Close.
func (l *Listener) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.closed:
	}
}

func (l *Listener) isClosed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

func (l *Listener) leave() {
	if l.room != nil {
		<-l.room
	}
}

// forget takes c out of the books but for its place in the room.
func (l *Listener) forget(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c.token)
	if l.perIP != nil {
		l.perIP.remove(c.origin)
	}
}

// gone is called by the watcher with the token of a connection whose client has
// left. A connection that was closed meanwhile is not in the table any more.
func (l *Listener) gone(token uint64) {
	l.mu.Lock()
	c := l.conns[token]
	l.mu.Unlock()
	if c != nil {
		c.hangUp()
	}
}

// Addr returns the address that clients connect to.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// Close ends Accept. Connections live on and stay watched.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.inner.Close()
}

// CloseConns closes every open connection, at once: those that linger, too.
func (l *Listener) CloseConns() {
	l.mu.Lock()
	open := make([]*Conn, 0, len(l.conns))
	for _, c := range l.conns {
		open = append(open, c)
	}
	l.mu.Unlock()
	for _, c := range open {
		_ = c.cut()
	}
}

// Shutdown closes the listener and every connection, ends the watching and waits
// for the end of it. It must not be called from ClientGone.
func (l *Listener) Shutdown() {
	_ = l.Close()
	l.mu.Lock()
	first := !l.down
	l.down = true
	l.mu.Unlock()
	l.CloseConns()
	if first {
		close(l.ended)
		l.watcher.close()
	}
	l.watches.Wait()
}

// Stats returns what the listener has seen so far.
func (l *Listener) Stats() Stats {
	l.mu.Lock()
	open := len(l.conns)
	l.mu.Unlock()
	return Stats{
		Open: open, Accepted: l.accepted.Load(), Refused: l.refused.Load(),
		AcceptErrors: l.acceptErrors.Load(), HangUps: l.hangUps.Load(), Evicted: l.evictions.Load(),
	}
}
