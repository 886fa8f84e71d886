package front

import (
	"crypto/tls"
	"errors"
	"net/netip"

	"github.com/usher-sidecar/usher/sidecar/proxy"
)

// What a client is told that does not begin with TLS on the TLS port: it could not
// read an answer in TLS, nor tell a reset from a dead server.
var (
	errPlaintext = &Fault{Status: 400, Reason: "This port speaks TLS; call it with https:// in place of http://", Plain: true}
	errProxyLine = &Fault{Status: 400, Reason: "A PROXY header is taken of trusted proxies alone, and well-formed", Plain: true}
)

// plaintextFault is what a client is told whose TLS handshake failed with err; nil:
// nothing. The record header is its first five bytes: those of a method, or of a
// PROXY header that nobody took off.
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

// answerPlaintext has the client answered past TLS, and closes the connection;
// the rest of the request may still be on its way.
func (c *Conn) answerPlaintext(fault *Fault) {
	c.Conn = c.watched
	c.client = c.source().String()
	c.CloseAfter()
	c.server.o.Serve(c, fault)
	_ = c.Close()
}

// source is the address that the connection came from, as far as a PROXY header has
// told.
func (c *Conn) source() netip.Addr {
	if c.proxied != nil {
		return c.proxied.source
	}
	return peerOf(c.watched)
}
