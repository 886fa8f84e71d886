package hangup

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// What Linger allows a client that was answered before it had sent everything.
const (
	lingerTotal   = 10 * time.Second // in all
	lingerSilence = 2 * time.Second  // between two pieces
	lingerBytes   = 32 << 20
)

// A Conn is a client's connection. It embeds a *net.TCPConn, and so keeps splice,
// sendfile and writev (net.Buffers). Watch, Unwatch and Read are for one goroutine at a
// time, the one that serves the connection, and so is Write; the other methods are safe
// for concurrent use.
type Conn struct {
	traffic
	listener *Listener
	token    uint64
	origin   netip.Addr // what MaxPerIP counts it under; guarded by the register's mu
	lingers  atomic.Bool
	stalled  atomic.Bool
	released atomic.Bool
	onClose  atomic.Pointer[func()]
	stall    stall
	watch
}

// From finds the Conn in a connection as servers hand it out: c itself, or one beneath
// any number of layers that have NetConn, as *tls.Conn does. It returns nil if there is
// none.
func From(c net.Conn) *Conn {
	for c != nil {
		if found, ok := c.(*Conn); ok {
			return found
		}
		layer, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		c = layer.NetConn()
	}
	return nil
}

// Count has MaxPerIP count the connection under addr instead of its current origin; the
// zero Addr is not counted. If addr is at its limit, the connection is no longer counted
// under any origin, Stats counts it as refused, and Count returns false.
func (c *Conn) Count(addr netip.Addr) bool {
	counted := c.listener.open.recount(c, OriginOf(addr))
	if !counted {
		c.listener.seen.refused.Add(1)
	}
	return counted
}

// Linger makes Close let a client that is still sending read the answer: Close then shuts
// down the sending half and discards what arrives, for a limited time and number of
// bytes. A plain close would make the kernel reset the connection, and the client lose
// the answer that it has not read yet (RFC 9112 section 9.6).
func (c *Conn) Linger() { c.lingers.Store(true) }

// Close closes the connection. After Linger it may take seconds; another Close or Reset
// cuts that short.
func (c *Conn) Close() error {
	if c.lingers.CompareAndSwap(true, false) {
		c.drain()
	}
	return c.cut()
}

// Reset closes the connection with a reset, so that the client cannot mistake what it got
// for a complete answer when the end of the connection ends the body.
func (c *Conn) Reset() {
	_ = c.SetLinger(0)
	_ = c.cut()
}

// cut closes the connection at once and, the first time, frees its seat. The descriptor
// goes first, because the limits count descriptors.
func (c *Conn) cut() error {
	err := c.TCPConn.Close()
	if c.released.CompareAndSwap(false, true) {
		c.listener.open.remove(c)
		c.listener.seats.leave()
		if f := c.onClose.Load(); f != nil {
			(*f)()
		}
	}
	return err
}

// OnClose has f called when the connection is closed on our side, or at once if it was
// closed already. f replaces any earlier one. It may be called twice, and must not block.
func (c *Conn) OnClose(f func()) {
	c.onClose.Store(&f)
	if c.released.Load() {
		f()
	}
}

// scratch is what drain reads into.
var scratch = sync.Pool{New: func() any { return new([16 << 10]byte) }}

// drain reads what the client still sends, within the bounds of Linger.
func (c *Conn) drain() {
	if c.CloseWrite() != nil {
		return
	}
	end := time.Now().Add(lingerTotal)
	buf := scratch.Get().(*[16 << 10]byte)
	defer scratch.Put(buf)
	for total := 0; total < lingerBytes; {
		until := time.Now().Add(lingerSilence)
		if until.After(end) {
			until = end
		}
		if c.SetReadDeadline(until) != nil {
			return
		}
		n, err := c.TCPConn.Read(buf[:])
		if err != nil {
			return
		}
		total += n
	}
}
