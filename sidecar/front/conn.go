package front

import (
	"net"
	"sync"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"github.com/usher-sidecar/usher/sidecar/hangup"
	"github.com/usher-sidecar/usher/sidecar/socket"
)

// A Conn is a client's connection, plain TCP or TLS on top of the connection that
// is watched for a hang-up, and the request that is being served on it. Its
// methods are for the goroutine that serves it, but for what hangup.Conn says of
// its own.
type Conn struct {
	net.Conn
	Head    Head
	Penalty Penalty
	watched *hangup.Conn
	proxied *proxiedConn // nil: the other end is no trusted proxy
	server  *Server
	ctx     *fasthttp.RequestCtx // while a request is served; nil: fasthttp has none
	begin   func()               // see Lend; nil: the connection is not to be lent
	lent    atomic.Bool          // from Lend until it is given back and served again
	client  string               // on whose behalf the request came, once that is known

	ahead  socket.Ahead
	guard  guard
	state  connState
	stream *Stream // of the request that is served; nil: its body is read by who serves it
}

// aheads are the buffers that connections are read into. Most heads fit into one.
var aheads = sync.Pool{New: func() any { b := make([]byte, 8<<10); return &b }}

func newConn(s *Server, c net.Conn, watched *hangup.Conn) *Conn {
	return &Conn{Conn: c, watched: watched, server: s, ahead: socket.NewAhead(&aheads)}
}

// connState is where a connection is between reading a head and answering it.
type connState struct {
	passed    int   // bytes ahead that are fasthttp's: of a head, and let pass by the guard
	failed    error // what reading a head failed with; errMalformedWire: the guard has stopped it
	whole     bool  // the head has come whole
	spoke     bool  // something was read once
	answered  bool  // the answer was begun
	closes    bool  // the connection ends with it
	last      bool  // because all do
	onBehalf  bool  // counted under a client that a proxy named
	shared    bool  // the connection is a proxy's, and not to be closed for one client
	continued bool  // "100 Continue" was sent
}

// Client is the address on whose behalf the request came.
func (c *Conn) Client() string { return c.client }

// ReleaseHead gives back the memory of the head, whose slices are not to be used
// any more: a silent stream holds none. It may be called more than once.
func (c *Conn) ReleaseHead() { c.Head.release() }

// Stalled reports whether the client was cut since it took nothing.
func (c *Conn) Stalled() bool { return c.watched.Stalled() }

// Watch has call told when the client leaves; see hangup.Conn.
func (c *Conn) Watch(call hangup.Call) { c.watched.Watch(call) }

// Unwatch lets the watched call go; see hangup.Conn.
func (c *Conn) Unwatch() { c.watched.Unwatch() }

// Reset cuts the connection so that the client cannot take what it got for the
// whole of an answer that ends with the connection.
func (c *Conn) Reset() { c.CloseAfter(); c.watched.Reset() }

// Abandon resets the connection, whatever is being done with it. Unlike the other
// methods it may be called from any goroutine.
func (c *Conn) Abandon() { c.watched.Reset() }

// Cut ends the connection in the middle of an answer.
func (c *Conn) Cut() { c.CloseAfter(); _ = c.Conn.Close() }

// CloseAfter ends the connection with the answer that is being given.
func (c *Conn) CloseAfter() {
	c.state.closes = true
	if c.ctx != nil {
		c.ctx.SetConnectionClose()
	}
}

// Closes reports whether the connection ends with the answer: the client wants
// that, or CloseAfter was called, or it is not known where the next request
// begins, or not worth reading on to it.
func (c *Conn) Closes() bool {
	return c.state.closes || c.Head.Close || c.comes() || c.guard.state == isLost || c.guard.inBody() && !(c.state.shared && c.skippable())
}

// skippable reports whether what nobody read of the body is worth reading over. A
// client that was not told to send it may leave it out (RFC 9110 section 10.1.1).
func (c *Conn) skippable() bool {
	return c.guard.state == inLength && c.guard.left <= maxSkipped && (c.Head.Value(expect) == nil || c.state.continued)
}

// Linger lets a client that is still sending read the answer, where the
// connection ends with it.
func (c *Conn) Linger() { c.watched.Linger() }

// joinBelow is how many bytes of an answer cost less to copy than to hand to the
// kernel in several pieces.
const joinBelow = 2 << 10

// WriteParts writes pieces of an answer: in one system call over TCP, as one
// record over TLS, where scratch joins the small ones.
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
