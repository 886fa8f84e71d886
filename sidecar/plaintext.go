package sidecar

import (
	"crypto/tls"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/usher-sidecar/usher/sidecar/account"
	"github.com/usher-sidecar/usher/sidecar/hangup"
	"github.com/usher-sidecar/usher/sidecar/proxy"
)

// Sentences for clients that do not begin with TLS on the TLS port: they could
// not read one in TLS, nor tell a reset from a dead server.
const (
	plaintextSentence = "This port speaks TLS; call it with https:// in place of http://.\n"
	proxySentence     = "A PROXY header is taken of trusted proxies alone, and well-formed.\n"
)

// plaintextSentenceFor is what a client is told whose TLS handshake failed with
// err; "": nothing. The record header is its first five bytes: those of a method,
// or of a PROXY header that nobody took off.
func plaintextSentenceFor(err error) string {
	var broken tls.RecordHeaderError
	if !errors.As(err, &broken) || broken.Conn == nil {
		return ""
	}
	switch string(broken.RecordHeader[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH", "CONNE", "TRACE":
		return plaintextSentence
	}
	if proxy.Begins(broken.RecordHeader[:]) {
		return proxySentence
	}
	return ""
}

// A secureConn is a TLS connection that has answered what is not TLS.
type secureConn struct {
	*tls.Conn
	sidecar *Sidecar
	proxied *proxiedConn // nil: the other end is no trusted proxy
}

// Read implements net.Conn. The first one shakes hands.
func (c *secureConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		if sentence := plaintextSentenceFor(err); sentence != "" {
			c.sidecar.answerPlaintext(hangup.From(c), c.proxied, sentence)
		}
	}
	return n, err
}

// answerPlaintext writes the answer past TLS, accounts for it, and closes the
// connection; the rest of the request may still be on its way.
func (s *Sidecar) answerPlaintext(c *hangup.Conn, proxied *proxiedConn, sentence string) {
	x := &exchange{sidecar: s, conn: &conn{watched: c}}
	a := &x.account
	a.ID, a.Route, a.Ticket.Reqnum, a.Times.Start = newRequestID(), account.RouteOther, -1, time.Now()
	a.Client = peerOf(c).String()
	if proxied != nil {
		a.Client = proxied.source.String()
	}
	a.Outcome, a.Status, a.BytesOut = account.BadRequest, fasthttp.StatusBadRequest, int64(len(sentence))
	s.calls.add(&x.call)
	_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"+
		"Content-Length: "+strconv.Itoa(len(sentence))+"\r\n\r\n"+sentence)
	x.settle()
	c.Linger()
	_ = c.Close()
}
