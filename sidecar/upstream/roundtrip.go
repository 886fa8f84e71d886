package upstream

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"time"
)

// A Request is a request to send. RoundTrip reads it and keeps nothing of it, except for
// Body and Source.
type Request struct {
	// Header is the client's field lines, as they came off the wire. They are forwarded
	// like that, so that values, order and repetition stay.
	Header    []byte
	Method    []byte // nil: POST
	Path      []byte // as it came off the wire, from the first slash; PathPrefix is put before it
	Query     []byte // as it came off the wire, without the question mark; api_key is removed
	RequestID string // sent as X-Request-Id; "": none
	// Traceparent is sent instead of the client's; "": the client's is sent.
	Traceparent string
	Body        []byte // while Response.Sending, read until the use has ended
	Source      Source // the body, instead of Body; read until the use has ended
	Length      int64  // of Source, in bytes; -1: unknown, so it is sent in chunks
	Sender      Sender // may be nil
}

// A Sender is told how far its request has been sent. Neither method is called more than
// once, nor after the use has ended, and they must not block.
type Sender interface {
	// RequestSent says that the request is on its way: all of it, or as much as the
	// socket took at once. RoundTrip calls it.
	RequestSent()
	// BodySent says that Request.Body is no longer being read. RoundTrip calls it, or the
	// goroutine that writes the rest of the request while the answer is read.
	BodySent()
}

// heads hold request heads while they are sent.
var heads = sync.Pool{New: func() any { b := make([]byte, 0, 2<<10); return &b }}

// maxPooledHead keeps rare huge heads out of the pools.
const maxPooledHead = 16 << 10

// RoundTrip sends the request and returns when the head of the final response has
// arrived. It may be called once for a Conn. The request is sent at most once: it goes to
// a new connection only if a kept one took not a single byte of it. The Response is valid
// until its Close, which alone ends the use. If RoundTrip fails, the use has ended.
// Errors: ErrBroken, ErrTimeout, ErrCanceled, ErrUnreachable (a dead connection could not
// be replaced), ErrRequest (nothing was sent; the connection is kept).
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

// exchange writes head and body and reads the response head. One deadline covers all of
// it, so that no server can hold a request for longer, whether it takes nothing, says
// nothing, or sends 1xx responses for ever.
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
		// The server stopped reading; it may have said why. If it did not, the write
		// error is the better explanation.
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

// sendRest writes what the socket did not take at once while the answer is read: a server
// may answer before it has read everything, read no further, or not read on until its
// answer is read. endRest gets the result.
func (cn *Conn) sendRest(n int, head, body []byte, sender Sender) {
	// The head's buffer goes back to its pool when RoundTrip returns.
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

// endRest ends the writing of the rest and reports whether the whole request was written.
// After an error status, or if the answer is not wanted any more, the rest is of no use;
// otherwise the server gets a little time for it.
func (cn *Conn) endRest(l *line, answered bool) bool {
	if cn.rest == nil {
		return true
	}
	wait := time.Duration(0)
	if answered && cn.response.status < 400 {
		wait = cn.client.restPatience
	}
	if end := time.Now().Add(wait); cn.upload != nil {
		cn.upload.end(end)
	} else {
		_ = l.nc.SetWriteDeadline(end)
	}
	return <-cn.rest == nil
}
