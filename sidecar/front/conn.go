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

// A Conn is a client's connection, plain TCP or TLS on top of the connection that
// is watched for a hang-up, and the request that is being served on it. Its
// methods are for the goroutine that serves it, but for what hangup.Conn says of
// its own.
//
// fasthttp reads the connection, but gets no more than the heads of requests, and
// writes to it, but nothing comes of that: its response writer drops or rewrites
// header fields (Date), cannot frame by the connection's end, holds back a body of
// declared length, and needs one more write for a stream's last chunk. Answers are
// written here, and what fasthttp then sends, always in exactly one write (a write
// deadline makes it flush after every response), is swallowed. In return the
// connection stays in fasthttp's hands for the next request.
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

// Read gives fasthttp the heads of requests and nothing else. Bodies are for the
// handler (Body.Read): so fasthttp has no use for its own buffer, which must be as
// large as the largest head, while a handler runs.
func (c *Conn) Read(p []byte) (int, error) {
	s := &c.state
	if s.passed == 0 && s.failed == nil {
		s.failed = c.nextHead()
	}
	if s.passed == 0 {
		return 0, s.failed
	}
	n := copy(p, c.ahead.Bytes()[:s.passed])
	s.passed -= n
	c.ahead.Drop(n)
	return n, nil
}

// nextHead finds out how much of a head is here, and waits while nothing is.
func (c *Conn) nextHead() (err error) {
	defer c.recoverHead(&err)
	if err := c.shakeHands(); err != nil {
		return err
	}
	if err := c.skipBody(); err != nil {
		return err
	}
	for { // an empty line is no request, and leaves as much time for one as before
		if c.ahead.Empty() && (c.state.answered || !c.state.spoke) {
			c.rest()
		}
		if err := c.ahead.Fill(c.Conn); err != nil {
			return err
		}
		if c.ahead.Drop(c.guard.blank(c.ahead.Bytes())); !c.ahead.Empty() {
			break
		}
	}
	s := &c.state
	if s.whole || s.answered { // the next request begins
		c.ReleaseHead()
		*s = connState{spoke: true}
	}
	n, end, ok := c.guard.pass(c.ahead.Bytes())
	s.passed = n
	if n > 0 {
		s.spoke = true
		c.Head.add(c.ahead.Bytes()[:n])
	}
	if end {
		s.whole = true
		c.Head.parse()
		c.guard.begin(&c.Head)
	}
	if !ok {
		return errMalformedWire
	}
	return nil
}

// rest lets the connection make room for another while it waits for a request. A
// TLS client has a second for its first one once it has shaken hands; before that
// it has it from its acceptance, as it has without TLS.
func (c *Conn) rest() {
	_, secure := c.Conn.(*secureConn)
	switch {
	case c.state.spoke:
		c.watched.Rest(0)
	case secure:
		c.watched.Rest(time.Second)
	}
}

// ReleaseHead gives back the memory of the head, whose slices are not to be used
// any more: a silent stream holds none. It may be called more than once.
func (c *Conn) ReleaseHead() { c.Head.release() }

// SetWriteDeadline keeps fasthttp's deadlines off the socket: how long a client
// may take nothing is for hangup.Listener, which sees what it takes.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }

// Stalled reports whether the client was cut since it took nothing.
func (c *Conn) Stalled() bool { return c.watched.Stalled() }

// Write is fasthttp's way to the client. What the handler answered is out.
func (c *Conn) Write(p []byte) (int, error) { return len(p), nil }

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
