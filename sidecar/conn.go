package sidecar

import (
	"bytes"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/usher-sidecar/usher/sidecar/hangup"
	"github.com/usher-sidecar/usher/sidecar/http1"
	"github.com/usher-sidecar/usher/sidecar/socket"
)

// A conn is a client's connection as fasthttp sees it: plain TCP or TLS on top
// of the connection that is watched for a hang-up.
//
// A relayed answer does not go through fasthttp's response writer: that one
// drops or rewrites header fields (Date), cannot frame by the connection's end,
// holds back a body of declared length, and needs one more write for a stream's
// last chunk. The handler writes such an answer itself, and has the response
// that fasthttp then sends, always in exactly one write (serve sets a write
// deadline, which makes it flush after every response), swallowed here. In
// return the connection stays in fasthttp's hands for the next request.
type conn struct {
	net.Conn
	watched *hangup.Conn
	forger  forger
	proxied *proxiedConn // nil: the other end is no trusted proxy
	address string       // the client's, once it was asked for

	swallow bool    // the next write was answered already
	first   *[]byte // what the first read of a head brought, for recall alone; nil: nothing, or no need any more
	midLine bool    // the first line of a request has begun, but not ended
	fresh   bool    // nothing of a head came since the last write
	spoke   bool    // something was read once

	ahead  socket.Ahead
	passed int // bytes ahead that are fasthttp's: of a head, and let pass by the guard

	guard  wireGuard
	failed error // what reading a head failed with; errMalformedWire: the guard has stopped it
}

// Buffers of connections. What conn.first points to must be a copy: by the time
// fasthttp says that a request was none, its bytes are not ahead any more.
var (
	aheads = sync.Pool{New: func() any { b := make([]byte, readBufferSize); return &b }}
	firsts = sync.Pool{New: func() any { b := make([]byte, 0, readBufferSize); return &b }}
)

func newConn(c net.Conn, watched *hangup.Conn) *conn {
	return &conn{Conn: c, watched: watched, ahead: socket.NewAhead(&aheads), fresh: true}
}

// client is the client's address as the log names it.
func (c *conn) client(ctx *fasthttp.RequestCtx) string {
	if c.address == "" {
		c.address = ctx.RemoteIP().String()
	}
	return c.address
}

// Read gives fasthttp the heads of requests and nothing else. Bodies are for the
// handler (clientBody): so fasthttp has no use for its own buffer, which must be
// as large as the largest head, while a handler runs.
func (c *conn) Read(p []byte) (int, error) {
	if c.passed == 0 && c.failed == nil {
		c.failed = c.nextHead()
	}
	if c.passed == 0 {
		return 0, c.failed
	}
	n := copy(p, c.ahead.Bytes()[:c.passed])
	c.passed -= n
	c.ahead.Drop(n)
	return n, nil
}

// nextHead finds out how much of a head is here, and waits while nothing is. It
// notes where in a head fasthttp is: of one that is too large it does not say
// whether it was the target (414) or the fields (431).
func (c *conn) nextHead() error {
	if err := c.skipBody(); err != nil {
		return err
	}
	if c.fresh && c.ahead.Empty() {
		c.rest()
	}
	if err := c.ahead.Fill(c.Conn); err != nil {
		return err
	}
	n, ok := c.guard.pass(c.ahead.Bytes())
	c.passed = n
	piece := c.ahead.Bytes()[:n]
	if n > 0 && c.fresh {
		if c.first == nil {
			c.first = firsts.Get().(*[]byte)
		}
		*c.first = append((*c.first)[:0], piece...)
	}
	if n > 0 && (c.fresh || c.midLine) {
		c.spoke, c.fresh, c.midLine = true, false, bytes.IndexByte(piece, '\n') < 0
	}
	if !ok {
		return errMalformedWire
	}
	return nil
}

// rest lets the connection make room for another while it waits for a request. A
// TLS client has a second for its first one once it has shaken hands; before that
// it has it from its acceptance, as it has without TLS.
func (c *conn) rest() {
	secure, ok := c.Conn.(interface{ Handshake() error })
	switch {
	case c.spoke:
		c.watched.Rest(0)
	case ok && secure.Handshake() == nil: // else the read fails with the same
		c.watched.Rest(time.Second)
	}
}

// forget ends what recall is for: a head has come whole, or was answered.
func (c *conn) forget() {
	if c.first != nil {
		firsts.Put(c.first)
		c.first = nil
	}
}

// recall puts the target, the origin and the id of a request that fasthttp gave
// up reading into h, so that its answer has the shape of its route. It leaves h as
// it is where they are not known: of a request that came in pieces.
func (c *conn) recall(h *fasthttp.RequestHeader) {
	if c.fresh || c.first == nil {
		return
	}
	line, fields, _ := bytes.Cut(*c.first, []byte("\n"))
	if _, rest, ok := bytes.Cut(line, []byte(" ")); ok {
		target, _, _ := bytes.Cut(rest, []byte(" "))
		h.SetRequestURIBytes(bytes.TrimRight(target, "\r"))
	}
	h.Del(headerRequestID) // what fasthttp had come to
	for len(fields) > 0 {
		line, fields, _ = bytes.Cut(fields, []byte("\n"))
		name, value, ok := bytes.Cut(line, []byte(":"))
		switch {
		case ok && http1.EqualFold(name, "origin"):
			h.SetBytesV(fasthttp.HeaderOrigin, bytes.TrimSpace(value))
		case ok && http1.EqualFold(name, "x-request-id"):
			h.AddBytesV(headerRequestID, bytes.TrimSpace(value))
		case len(bytes.TrimSpace(line)) == 0:
			return // what follows is body
		}
	}
}

// Write is fasthttp's way to the client.
func (c *conn) Write(p []byte) (int, error) {
	c.fresh = true
	if c.swallow {
		c.swallow = false
		return len(p), nil
	}
	c.watched.ArmWrite()
	return c.Conn.Write(p)
}

// SetWriteDeadline keeps fasthttp's deadlines off the socket: how long a client
// may take nothing is for hangup.Listener, which sees what it takes.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// answered is called when the handler has written the whole answer itself.
func (c *conn) answered() { c.swallow = true }

// joinBelow is how many bytes of an answer cost less to copy than to hand to the
// kernel in several pieces.
const joinBelow = 2 << 10

// writeBuffers writes pieces of an answer: in one system call over TCP, as one
// record over TLS, where scratch joins the small ones.
func (c *conn) writeBuffers(scratch []byte, pieces [][]byte) error {
	c.fresh = true
	c.watched.ArmWrite()
	total := 0
	for _, p := range pieces {
		total += len(p)
	}
	if _, secure := c.Conn.(*secureConn); !secure && total > joinBelow {
		buffers := net.Buffers(pieces)
		_, err := buffers.WriteTo(c.watched.TCPConn)
		return err
	}
	joined := scratch[:0]
	for _, p := range pieces {
		joined = append(joined, p...)
	}
	_, err := c.Conn.Write(joined)
	return err
}
