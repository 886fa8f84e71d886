package front

import (
	"net/http"
	"strconv"
	"time"

	"github.com/usher-sidecar/usher/sidecar/http1"
)

// An Answer is a complete answer of Usher's own.
type Answer struct {
	Status int
	Type   string // of the body; "": there is no body
	Fields []byte // field lines besides those that every answer has, each with its CR LF
	Body   []byte
}

// Own holds the fields that every answer gets: the request's id and where its time went.
// Empty ones are left out.
type Own struct {
	RequestID string
	Timing    []byte // the value of Server-Timing
}

// Answer writes a complete answer. If Closes, the connection ends with it, but lingers so
// that a client that is still sending can read it.
func (c *Conn) Answer(a *Answer, own Own) error {
	b := make([]byte, 0, 512+len(a.Body))
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(a.Status), 10)
	b = append(append(append(b, ' '), http.StatusText(a.Status)...), "\r\n"...)
	if a.Type != "" {
		b = append(append(append(b, "Content-Type: "...), a.Type...), "\r\n"...)
	}
	b = append(b, a.Fields...)
	b = appendDate(b, time.Now())
	b = c.AppendFields(b, own, nil, false)
	if a.Status != http.StatusNoContent {
		b = append(b, "Content-Length: "...)
		b = append(strconv.AppendInt(b, int64(len(a.Body)), 10), "\r\n"...)
	}
	b = append(c.AppendConnection(b), "\r\n"...)
	if !c.Head.Is("HEAD") {
		b = append(b, a.Body...)
	}
	if c.Closes() {
		c.CloseAfter()
		c.Linger()
	}
	c.state.answered = true
	c.watched.ArmWrite()
	_, err := c.Conn.Write(b)
	return err
}

// Owns reports whether a field of the model server's is left out of a relayed head:
// because the front sets it itself, or because it would be mistaken for ours:
// X-Usher-Refusal says that the ticket is still good.
func (c *Conn) Owns(name []byte) bool {
	return http1.EqualFold(name, "x-request-id") || http1.EqualFold(name, "x-usher-refusal") || c.server.o.CORS.Enabled() && http1.HasPrefixFold(name, "access-control-")
}

// AppendFields appends the front's fields to a head. relayed are the model server's field
// lines in it; varies reports whether they already say that the answer depends on the
// origin.
func (c *Conn) AppendFields(dst []byte, own Own, relayed []byte, varies bool) []byte {
	if own.RequestID != "" {
		dst = append(append(append(dst, "X-Request-Id: "...), own.RequestID...), "\r\n"...)
	}
	if len(own.Timing) > 0 {
		dst = append(append(append(dst, "Server-Timing: "...), own.Timing...), "\r\n"...)
	}
	return c.server.o.CORS.appendFields(dst, c.Head.Value(Origin), relayed, varies)
}

// AppendConnection decides whether the connection ends with the answer, and appends the
// Connection field if one is needed.
func (c *Conn) AppendConnection(dst []byte) []byte {
	if c.server.o.Closing() {
		c.state.last = true
		c.CloseAfter()
	}
	switch {
	case c.Closes():
		c.CloseAfter() // it has been announced, whatever happens meanwhile
		return append(dst, "Connection: close\r\n"...)
	case !c.Head.HTTP11:
		return append(dst, "Connection: keep-alive\r\n"...)
	}
	return dst
}
