package front

import (
	"errors"
	"io"
	"net"
	"net/netip"

	"github.com/usher-sidecar/usher/sidecar/hangup"
	"github.com/usher-sidecar/usher/sidecar/proxy"
	"github.com/usher-sidecar/usher/sidecar/socket"
)

// ErrCrowded is the error if a client behind a trusted proxy has as many connections as
// one address may have.
var ErrCrowded = errors.New("too many connections of one client")

// A proxiedConn is a connection from a trusted proxy. It removes a PROXY header, if there
// is one, from the beginning of the connection, before TLS. The read deadline bounds how
// long that may take.
type proxiedConn struct {
	*hangup.Conn
	source netip.Addr // the proxy, until a header has named the client
	begun  bool       // begin was called
	failed error      // the error of begin
	rest   []byte     // bytes read after the header
}

// newProxiedConn returns nil if the peer is not a trusted proxy.
func newProxiedConn(c *hangup.Conn, trusted proxy.Trusted) *proxiedConn {
	peer := peerOf(c)
	if !trusted.Has(peer) {
		return nil
	}
	return &proxiedConn{Conn: c, source: peer}
}

// peerOf returns the address of the other end; the zero Addr if that is not a TCP
// address.
func peerOf(c net.Conn) netip.Addr {
	tcp, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}

// NetConn lets hangup.From look beneath.
func (c *proxiedConn) NetConn() net.Conn { return c.Conn }

// Read implements net.Conn.
func (c *proxiedConn) Read(p []byte) (int, error) {
	if !c.begun {
		c.begun = true
		c.failed = c.begin()
	}
	if c.failed != nil {
		return 0, c.failed
	}
	if len(c.rest) > 0 {
		n := copy(p, c.rest)
		if c.rest = c.rest[n:]; len(c.rest) == 0 {
			c.rest = nil
		}
		return n, nil
	}
	return c.Conn.Read(p)
}

// FillAhead is the connection's own, once the header is out of the way.
func (c *proxiedConn) FillAhead(a *socket.Ahead) error {
	if c.begun && c.failed == nil && len(c.rest) == 0 {
		return c.Conn.FillAhead(a)
	}
	return a.Fill(struct{ io.Reader }{c}) // only its Read
}

// begin reads a PROXY header, and counts the connection under the client that it names.
func (c *proxiedConn) begin() error {
	buf := make([]byte, 0, 512)
	for {
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, proxy.MaxHeader), buf...)
		}
		n, err := c.Conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err != nil {
			return err
		}
		source, n, err := proxy.Header(buf)
		if errors.Is(err, proxy.ErrShort) {
			continue
		}
		// A malformed header stays where it is: it is neither TLS nor HTTP, and
		// answered 400 for that.
		c.rest = buf[n:]
		if source.IsValid() {
			c.source = source.WithZone("")
			if !c.Count(c.source) {
				c.Reset()
				return net.ErrClosed
			}
		}
		return nil
	}
}

// findClient finds out on whose behalf a request came, and counts its connection under
// that client while the request is served. If the client is at its limit, there is no
// connection of its own to reset: ErrCrowded.
func (c *serving) findClient() error {
	p := c.proxied
	if p == nil {
		if c.Client == "" {
			c.Client = peerOf(c.watched).String()
		}
		return nil
	}
	client := c.server.o.Trusted.Client(p.source, c.Head.Values("x-forwarded-for"))
	c.Client = client.String()
	if client == p.source {
		return nil
	}
	c.state.shared = true
	if !p.Count(client) {
		return ErrCrowded
	}
	c.state.onBehalf = true
	return nil
}
