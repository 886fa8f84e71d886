package front

import (
	"crypto/tls"
	"errors"
	"net/netip"

	"github.com/usher-sidecar/usher/sidecar/proxy"
)

// The answers to a client that does not speak TLS on the TLS port: it could not read an
// answer in TLS, nor tell a reset from a dead server.
var (
	errPlaintext = &Fault{Status: 400, Reason: "This port speaks TLS; call it with https:// instead of http://", Plain: true}
	errProxyLine = &Fault{Status: 400, Reason: "A PROXY header is accepted only from trusted proxies, and only if it is well-formed", Plain: true}
)

// plaintextFault returns the answer to a client whose TLS handshake failed with err; nil
// if there is none. The first five bytes, read as a record header, are those of a method,
// or of a PROXY header that was not removed.
func plaintextFault(err error) *Fault {
	var broken tls.RecordHeaderError
	if !errors.As(err, &broken) || broken.Conn == nil {
		return nil
	}
	switch string(broken.RecordHeader[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH", "CONNE", "TRACE":
		return errPlaintext
	}
	if proxy.Begins(broken.RecordHeader[:]) {
		return errProxyLine
	}
	return nil
}

// answerPlaintext has the client answered without TLS, and closes the connection. The
// rest of the request may still be on its way. The answer goes through a Conn of its own,
// since fasthttp may be closing this one, as it is idle.
func answerPlaintext(c *Conn, fault *Fault) {
	plain := newConn(c.server, c.watched, c.watched)
	plain.Client = sourceOf(c).String()
	plain.CloseAfter()
	c.server.o.Serve(plain, fault)
	_ = plain.Close()
}

// sourceOf returns the address that the connection came from, as far as a PROXY header has
// named it.
func sourceOf(c *Conn) netip.Addr {
	if c.proxied != nil {
		return c.proxied.source
	}
	return peerOf(c.watched)
}
