package sidecar

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/usher-sidecar/usher/sidecar/account"
	"github.com/usher-sidecar/usher/sidecar/hangup"
)

const plaintextSentence = "This port speaks TLS; call it with https:// in place of http://.\n"

// plaintextAnswer is for a client that speaks plain HTTP to the TLS port: it
// could not read one in TLS, nor tell a reset from a dead server.
var plaintextAnswer = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n" +
	"Content-Length: " + strconv.Itoa(len(plaintextSentence)) + "\r\n\r\n" + plaintextSentence

// isPlaintext reports whether a TLS handshake failed because the client speaks
// plain HTTP. The record header is its first five bytes: those of a method.
func isPlaintext(err error) bool {
	var broken tls.RecordHeaderError
	if !errors.As(err, &broken) || broken.Conn == nil {
		return false
	}
	switch string(broken.RecordHeader[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH", "CONNE", "TRACE":
		return true
	}
	return false
}

// A secureConn is a TLS connection that has plain HTTP answered.
type secureConn struct {
	*tls.Conn
	sidecar *Sidecar
}

// Read implements net.Conn. The first one shakes hands.
func (c *secureConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && isPlaintext(err) {
		c.sidecar.answerPlaintext(hangup.From(c))
	}
	return n, err
}

// answerPlaintext writes the answer past TLS, accounts for it, and closes the
// connection; the rest of the request may still be on its way.
func (s *Sidecar) answerPlaintext(c *hangup.Conn) {
	x := &exchange{sidecar: s, conn: &conn{watched: c}}
	a := &x.account
	a.ID, a.Route, a.Ticket.Reqnum, a.Times.Start = newRequestID(), account.RouteOther, -1, time.Now()
	a.Client, _, _ = net.SplitHostPort(c.RemoteAddr().String())
	a.Outcome, a.Status, a.BytesOut = account.BadRequest, fasthttp.StatusBadRequest, int64(len(plaintextSentence))
	s.calls.add(&x.call)
	_, _ = io.WriteString(c, plaintextAnswer)
	x.settle()
	c.Linger()
	_ = c.Close()
}
