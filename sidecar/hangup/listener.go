package hangup

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/usher-sidecar/usher/sidecar/socket"
)

// A Listener is a net.Listener whose connections are *Conn. Make it with
// Listen; its methods are safe for concurrent use.
type Listener struct {
	inner   tcpListener
	options Options
	watcher *watcher
	open    register
	seats   seats
	seen    counters
	closed  chan struct{} // closed by Close
	ended   chan struct{} // closed by Shutdown
	once    sync.Once
	watches sync.WaitGroup
}

type counters struct {
	accepted, refused, acceptErrors, hangUps atomic.Uint64
}

// tcpListener is the part of *net.TCPListener that is used.
type tcpListener interface {
	net.Listener
	AcceptTCP() (*net.TCPConn, error)
}

// Listen puts a Listener on top of ln, which must be a *net.TCPListener (or have its
// AcceptTCP) and belongs to the Listener from then on. It starts the goroutines that
// watch the connections; Shutdown ends them. Errors: ErrListener, ErrOptions, or that the
// kernel refused an epoll instance.
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
		open: register{conns: make(map[uint64]*Conn)},
	}
	l.seats.register, l.seats.rested = &l.open, make(chan struct{}, 1)
	if o.MaxConnections > 0 {
		l.seats.taken = make(chan struct{}, o.MaxConnections)
	}
	if o.MaxPerIP > 0 {
		l.open.perIP = newCensus(o.MaxPerIP)
	}
	l.watches.Go(func() { w.run(l.gone) })
	if sweeps && o.WriteTimeout > 0 {
		l.watches.Go(l.sweep)
	}
	return l, nil
}

// Accept waits for a client and then for room, for which it may close an idle connection
// (see Options.MaxConnections). It returns a *Conn. Failures that may pass (no
// descriptors left, a client that gave up, a network that is down) are counted, and
// Accept tries again a little later. After Close it returns net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	var delay time.Duration
	for !l.isClosed() {
		c, err := l.accept()
		switch {
		case err == nil:
			l.seen.accepted.Add(1)
			return c, nil
		case errors.Is(err, errCrowded):
		case !errors.Is(err, errUnwatched) && !isTemporary(err):
			return nil, err
		default:
			l.seen.acceptErrors.Add(1)
			if isExhausted(err) {
				if done, _ := l.seats.evict(); done {
					continue
				}
			}
			// Nothing signals that descriptors are free again. A try is cheap, so even
			// the longest pause is short.
			delay = min(max(2*delay, time.Millisecond), 100*time.Millisecond)
			l.pause(delay)
		}
	}
	return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
}

// errCrowded means that a connection was refused because of MaxPerIP.
var errCrowded = errors.New("too many connections from one address")

// errUnwatched wraps the error if the kernel refuses to watch a connection.
var errUnwatched = errors.New("hangup: connection cannot be watched")

// accept takes one client: it checks its limit, waits for room, and has the connection
// watched.
func (l *Listener) accept() (*Conn, error) {
	tcp, err := l.inner.AcceptTCP()
	if err != nil {
		return nil, err
	}
	c := &Conn{traffic: traffic{TCPConn: tcp}, listener: l, watch: watch{told: &l.seen.hangUps}}
	if err := c.sock.Init(tcp); err != nil {
		_ = tcp.Close()
		return nil, fmt.Errorf("%w: %w", errUnwatched, err)
	}
	if l.open.perIP != nil {
		peer := addrOf(tcp.RemoteAddr())
		if l.options.Uncounted == nil || !l.options.Uncounted(peer) {
			c.origin = OriginOf(peer)
		}
		if !l.open.perIP.add(c.origin) {
			l.seen.refused.Add(1)
			_ = tcp.SetLinger(0) // so that a flood leaves no TIME_WAIT here
			_ = tcp.Close()
			return nil, errCrowded
		}
	}
	if !l.seats.take(l.closed) {
		if l.open.perIP != nil {
			l.open.perIP.remove(c.origin)
		}
		_ = tcp.Close()
		return nil, net.ErrClosed
	}
	c.idle.Store(instant() + int64(newcomerGrace))
	// Into the register first: the kernel reports a FIN only once, perhaps before
	// watcher.add returns, and it would be lost for a connection that is not registered.
	if l.open.add(c) {
		err = l.watcher.add(tcp, c.token, l.options)
	} else {
		err = net.ErrClosed
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

// gone is called by the watcher with the token of a connection whose client has left. A
// connection that was closed meanwhile is no longer registered.
func (l *Listener) gone(token uint64) {
	if c := l.open.find(token); c != nil {
		c.hangUp()
	}
}

// Addr returns the address that clients connect to.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// Finish is Close as soon as Accept has taken every client that is connected, or after
// limit. The kernel connects clients before anybody accepts them, and resets those that
// are left when the listener closes, although they may have sent a request.
func (l *Listener) Finish(limit time.Duration) error {
	for end := time.Now().Add(limit); backlog(l.inner) && !l.isClosed() && time.Now().Before(end); {
		l.pause(time.Millisecond)
	}
	return l.Close()
}

// backlog reports whether clients are connected to ln that nobody has accepted yet; false
// also if that cannot be found out.
func backlog(ln net.Listener) bool {
	descriptor, ok := ln.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := descriptor.SyscallConn()
	if err != nil {
		return false
	}
	silent, known := socket.Silent(raw)
	return known && !silent
}

// Close ends Accept. Open connections go on and stay watched.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.inner.Close()
}

// CloseConns closes every open connection at once, including those that linger.
func (l *Listener) CloseConns() {
	for _, c := range l.open.list(nil) {
		_ = c.cut()
	}
}

// Shutdown closes the listener and every connection, ends the watching and waits until it
// has ended. It must not be called from ClientGone.
func (l *Listener) Shutdown() {
	_ = l.Close()
	first := l.open.shut()
	l.CloseConns()
	if first {
		close(l.ended)
		l.watcher.close()
	}
	l.watches.Wait()
}

// Stats returns what the listener has seen so far.
func (l *Listener) Stats() Stats {
	return Stats{
		Open: l.open.len(), Accepted: l.seen.accepted.Load(), Refused: l.seen.refused.Load(),
		AcceptErrors: l.seen.acceptErrors.Load(), HangUps: l.seen.hangUps.Load(), Evicted: l.seats.evictions.Load(),
	}
}
