package upstream

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"time"
)

// A Request is what is to be sent. It is read during RoundTrip only, but for Body.
type Request struct {
	// Header is the client's header lines, as they came off the wire: they are
	// what is forwarded, so that values, order and repetition stay.
	Header    []byte
	Method    []byte // nil: POST
	Path      []byte // as it was on the wire, from the first slash; the prefix comes before it
	Query     []byte // as it was on the wire, without the question mark; api_key is taken out
	RequestID string // sent as X-Request-Id; "": none
	// Traceparent is sent in place of the client's; "": the client's is.
	Traceparent string
	Body        []byte // is read until the use has ended, where Response.Sending says so
	Source      Source // the body, in the place of Body: read until the use has ended; nil: Body is it
	Length      int64  // of Source, in bytes; -1: it is not known, and sent in chunks
	Sender      Sender // nil: nobody wants to know
}

// A Sender is told how far its request is. Neither method is called more than
// once, nor after the use has ended, and they must not block.
type Sender interface {
	// RequestSent says that the request is on its way: all of it, or as much as the
	// socket took at once. It is called by RoundTrip.
	RequestSent()
	// BodySent says that Request.Body is not read any more. It is called by
	// RoundTrip, or by the goroutine that writes beside the answer.
	BodySent()
}

// heads hold request heads while they are sent.
var heads = sync.Pool{New: func() any { b := make([]byte, 0, 2<<10); return &b }}

// maxPooledHead keeps a rare huge head from staying.
const maxPooledHead = 16 << 10

// RoundTrip sends the request and returns when the head of the final response
// is here. It is called once for a Conn. The request is sent at most once: only
// where a kept connection took not one byte of it, it goes to a new one. The
// Response is valid until its Close, and only that ends the use. Errors:
// ErrBroken, ErrTimeout, ErrCanceled, ErrUnreachable (a dead connection could
// not be replaced), ErrRequest (nothing was sent; the connection is kept); the
// use has ended then.
func (cn *Conn) RoundTrip(req *Request) (*Response, error) {
	if cn.line == nil || cn.used {
		return nil, errors.New("upstream: a second RoundTrip on a Conn")
	}
	buf := heads.Get().(*[]byte)
	defer putHead(buf)
	head, err := cn.client.o.appendHead((*buf)[:0], req)
	*buf = head
	if err != nil {
		cn.end(reuse)
		return nil, err
	}
	cn.used = true
	cn.response.toHEAD = string(req.Method) == "HEAD"
	resp, err := cn.exchange(head, req)
	if err != nil {
		return nil, cn.fail(err)
	}
	return resp, nil
}

func putHead(buf *[]byte) {
	if cap(*buf) <= maxPooledHead {
		heads.Put(buf)
	}
}

// exchange writes head and body and reads the response head. One deadline holds
// for all of it, so that neither a server that takes nothing nor one that says
// nothing, nor one that says "wait" for ever, can hold a request for longer.
func (cn *Conn) exchange(head []byte, req *Request) (*Response, error) {
	body := req.Body
	deadline := time.Now().Add(cn.client.o.ResponseTimeout)
	_ = cn.line.nc.SetDeadline(deadline)
	n, err := cn.line.sock.TryWrite(head, body)
	if err != nil && n == 0 && cn.reused && !cn.canceled() {
		if err := cn.replace(); err != nil {
			return nil, err
		}
		_ = cn.line.nc.SetDeadline(deadline)
		n, err = cn.line.sock.TryWrite(head, body)
	}
	if req.Sender != nil && err == nil {
		req.Sender.RequestSent()
	}
	r := &cn.response
	r.begin(cn)
	switch {
	case err != nil:
		// The server stopped listening; it may have said why. Where it did not,
		// that it stopped is the better explanation.
		if r.readHead() != nil {
			return nil, err
		}
		r.keep = false
	case req.Source != nil:
		cn.sendSource(bytes.Clone(head[n:]), req)
		err = r.readHead()
	case n < len(head)+len(body):
		cn.sendRest(n, head, body, req.Sender)
		err = r.readHead()
	default:
		if req.Sender != nil {
			req.Sender.BodySent()
		}
		err = r.readHead()
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// sendRest writes what the socket did not take at once, beside the answer: a
// server may answer before it has read all, read no further, or even not before
// its answer is read. What became of the writing is known when the use ends.
func (cn *Conn) sendRest(n int, head, body []byte, sender Sender) {
	// The head's memory is given back when RoundTrip returns.
	rest := net.Buffers{bytes.Clone(head[min(n, len(head)):]), body[max(n-len(head), 0):]}
	nc, written := cn.line.nc, make(chan error, 1)
	cn.rest = written
	go func() {
		_, err := rest.WriteTo(nc)
		if sender != nil {
			sender.BodySent()
		}
		written <- err
	}()
}

// restPatience is how long a server that has answered may still take the rest of
// its request.
const restPatience = time.Second

// endRest ends the writing beside the answer and reports whether the request was
// written whole. After an error status, or an answer that nobody wants any more,
// the rest is of no use; else the server gets a little time for it.
func (cn *Conn) endRest(l *line, answered bool) bool {
	if cn.rest == nil {
		return true
	}
	wait := time.Duration(0)
	if answered && cn.response.status < 400 {
		wait = restPatience
	}
	if end := time.Now().Add(wait); cn.upload != nil {
		cn.upload.end(end)
	} else {
		_ = l.nc.SetWriteDeadline(end)
	}
	return <-cn.rest == nil
}
