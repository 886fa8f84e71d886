package front

import (
	"net"
	"sync"
	"sync/atomic"

	"github.com/usher-sidecar/usher/sidecar/hangup"
	"github.com/usher-sidecar/usher/sidecar/socket"
)

// A Conn is a client's connection, plain TCP or TLS, on top of the hangup.Conn that is
// watched, together with the request being served on it. Its methods are for the
// goroutine that serves it, except for those that hangup.Conn allows to others. What is
// done in one phase only are methods of a type that is a Conn by another name: wire,
// clientBody, serving, resting.
type Conn struct {
	link
	Head     Head
	Penalty  Penalty
	Client   string       // the address on whose behalf the request came; "": not known yet
	proxied  *proxiedConn // nil: the peer is not a trusted proxy
	server   *Server
	handOver func()      // see Lend; nil: the connection is not being lent
	lent     atomic.Bool // from Lend until it is served again or closed

	ahead  socket.Ahead
	guard  guard
	stream *Stream // of the request being served; nil: its body is not a Stream
}

// aheads are the buffers that connections are read into. Most heads fit into one.
var aheads = sync.Pool{New: func() any { b := make([]byte, 8<<10); return &b }}

func newConn(s *Server, c net.Conn, watched *hangup.Conn) *Conn {
	return &Conn{link: link{Conn: c, watched: watched}, server: s, ahead: socket.NewAhead(&aheads)}
}

// Closes reports whether the connection ends with the answer: the client wants that,
// CloseAfter was called, it is not known where the next request begins, or reading on to
// it is not worth it.
func (c *Conn) Closes() bool {
	return c.state.closes || c.Head.Close || comes(c.stream) || c.guard.state == isLost || c.guard.inBody() && !(c.state.shared && skippable(c))
}

// skippable reports whether the unread rest of the body is worth skipping. A client that
// was not told to send it may leave it out (RFC 9110 section 10.1.1).
func skippable(c *Conn) bool {
	return c.guard.state == inLength && c.guard.left <= maxSkipped && (c.Head.Value(expect) == nil || c.state.continued)
}
