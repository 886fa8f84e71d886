package front

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/usher-sidecar/usher/sidecar/hangup"
	"github.com/usher-sidecar/usher/sidecar/socket"
)

// A Conn is a client's connection, plain TCP or TLS, on top of the hangup.Conn that is
// watched, together with the request being served on it. Its methods are for the
// goroutine that serves it, except for those that hangup.Conn allows to others.
type Conn struct {
	net.Conn
	Head    Head
	Penalty Penalty
	watched *hangup.Conn
	proxied *proxiedConn // nil: the peer is not a trusted proxy
	server  *Server
	ctx     *fasthttp.RequestCtx // while fasthttp serves a request; otherwise nil
	begin   func()               // see Lend; nil: the connection is not being lent
	lent    atomic.Bool          // from Lend until it is served again or closed
	client  string               // see Client; "": not known yet

	ahead  socket.Ahead
	guard  guard
	state  connState
	stream *Stream // of the request being served; nil: its body is not a Stream
}

// aheads are the buffers that connections are read into. Most heads fit into one.
var aheads = sync.Pool{New: func() any { b := make([]byte, 8<<10); return &b }}

func newConn(s *Server, c net.Conn, watched *hangup.Conn) *Conn {
	return &Conn{Conn: c, watched: watched, server: s, ahead: socket.NewAhead(&aheads)}
}

// connState is the state of a connection between reading a head and answering it.
type connState struct {
	passed    int   // bytes ahead that fasthttp may read: of a head, passed by the guard
	failed    error // the error of reading a head; errMalformedWire: from the guard
	whole     bool  // the whole head was read
	spoke     bool  // something was read from the client
	answered  bool  // the answer was begun
	closes    bool  // the connection ends with the answer
	last      bool  // because all connections end with their next answer
	onBehalf  bool  // the connection counts under a client that a proxy named
	shared    bool  // it is a proxy's connection, not to be closed because of one client
	continued bool  // "100 Continue" was sent

	restsUntil time.Time // how long it may wait in the loop for its next request
}

// Client returns the address on whose behalf the request came.
func (c *Conn) Client() string { return c.client }

// Answered reports whether the answer was begun.
func (c *Conn) Answered() bool { return c.state.answered }

// ReleaseHead frees the memory of the head, so that a silent stream holds none. Slices of
// the head must not be used afterwards. It may be called more than once.
func (c *Conn) ReleaseHead() { c.Head.release() }

// Stalled reports whether the connection was cut because the client took nothing.
func (c *Conn) Stalled() bool { return c.watched.Stalled() }

// Watch has call told when the client leaves; see hangup.Conn.
func (c *Conn) Watch(call hangup.Call) { c.watched.Watch(call) }

// Unwatch ends the watching; see hangup.Conn.
func (c *Conn) Unwatch() { c.watched.Unwatch() }

// Reset resets the connection, so that the client cannot mistake what it got for a
// complete answer when the end of the connection ends the body.
func (c *Conn) Reset() { c.CloseAfter(); c.watched.Reset() }

// Abandon resets the connection, whatever state it is in. Unlike the other methods it may
// be called from any goroutine.
func (c *Conn) Abandon() { c.watched.Reset() }

// Cut closes the connection in the middle of an answer.
func (c *Conn) Cut() { c.CloseAfter(); _ = c.Conn.Close() }

// CloseAfter makes the connection end with the current answer.
func (c *Conn) CloseAfter() {
	c.state.closes = true
	if c.ctx != nil {
		c.ctx.SetConnectionClose()
	}
}

// Closes reports whether the connection ends with the answer: the client wants that,
// CloseAfter was called, it is not known where the next request begins, or reading on to
// it is not worth it.
func (c *Conn) Closes() bool {
	return c.state.closes || c.Head.Close || c.comes() || c.guard.state == isLost || c.guard.inBody() && !(c.state.shared && c.skippable())
}

// skippable reports whether the unread rest of the body is worth skipping. A client that
// was not told to send it may leave it out (RFC 9110 section 10.1.1).
func (c *Conn) skippable() bool {
	return c.guard.state == inLength && c.guard.left <= maxSkipped && (c.Head.Value(expect) == nil || c.state.continued)
}

// Linger lets a client that is still sending read the answer with which the connection
// ends; see hangup.Conn.
func (c *Conn) Linger() { c.watched.Linger() }

// joinBelow is how many bytes of an answer cost less to copy than to pass to the kernel
// in several pieces.
const joinBelow = 2 << 10

// WriteParts writes pieces of an answer together: over TCP in one system call, over TLS
// as one record. scratch is used to join them over TLS, and small ones over TCP.
func (c *Conn) WriteParts(scratch []byte, parts [][]byte) error {
	c.state.answered = true
	c.watched.ArmWrite()
	total := 0
	for _, p := range parts {
		total += len(p)
	}
	if _, secure := c.Conn.(*secureConn); !secure && total > joinBelow {
		buffers := net.Buffers(parts)
		_, err := buffers.WriteTo(c.watched.TCPConn)
		return err
	}
	joined := scratch[:0]
	for _, p := range parts {
		joined = append(joined, p...)
	}
	_, err := c.Conn.Write(joined)
	return err
}
