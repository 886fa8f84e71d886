package upstream

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// A Request is what is to be sent. It is read during RoundTrip only.
type Request struct {
	// Header is the client's, as fasthttp read it off the wire: its raw lines
	// are what is forwarded, so that values, order and repetition stay. Fields
	// set on it afterwards are not sent. nil: none.
	Header    *fasthttp.RequestHeader
	Path      []byte // as it was on the wire, from the first slash; the prefix comes before it
	Query     []byte // as it was on the wire, without the question mark; api_key is taken out
	RequestID string // sent as X-Request-Id; "": none
	// Traceparent is sent in place of the client's; "": the client's is.
	Traceparent string
	Body        []byte
	Sender      Sender // nil: nobody wants to know
}

// A Sender is told that its request is on its way: all of it, or as much as the
// socket took at once. It is called by RoundTrip, once at most, and must not
// block.
type Sender interface{ RequestSent() }

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
	resp, err := cn.exchange(head, req.Body, req.Sender)
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
func (cn *Conn) exchange(head, body []byte, sender Sender) (*Response, error) {
	deadline := time.Now().Add(cn.client.o.ResponseTimeout)
	_ = cn.line.nc.SetDeadline(deadline)
	n, err := cn.line.write(head, body)
	if err != nil && n == 0 && cn.reused && !cn.canceled() {
		if err := cn.replace(); err != nil {
			return nil, err
		}
		_ = cn.line.nc.SetDeadline(deadline)
		n, err = cn.line.write(head, body)
	}
	if sender != nil && err == nil {
		sender.RequestSent()
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
	case n < len(head)+len(body):
		err = cn.exchangeRest(n, head, body)
	default:
		err = r.readHead()
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// exchangeRest writes what the socket did not take at once while it listens: a
// server may answer, with 413 say, and read no further, or even wait until its
// answer is read. An answer always wins over what became of the writing. An
// error status ends the writing; after any other the server wants the rest, and
// gets it as long as the deadline lets it take.
func (cn *Conn) exchangeRest(n int, head, body []byte) error {
	rest := net.Buffers{head[min(n, len(head)):], body[max(n-len(head), 0):]}
	nc := cn.line.nc
	written := make(chan error, 1)
	go func() {
		_, err := rest.WriteTo(nc)
		written <- err
	}()
	r := &cn.response
	err := r.readHead()
	if err != nil || r.status >= 400 {
		_ = nc.SetWriteDeadline(time.Now())
	}
	if werr := <-written; werr != nil {
		r.keep = false
	}
	return err
}
