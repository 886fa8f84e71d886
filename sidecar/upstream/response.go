package upstream

import (
	"errors"
	"io"
)

// A Response is the model server's answer, read as it arrives. It belongs to one
// goroutine, and ends with Close. Slices that its methods return are valid until then.
type Response struct {
	Head
	Body
	length int64 // of the body; -1: not declared
	keep   bool  // the connection may be reused
	toHEAD bool  // it answers a HEAD, and has no body whatever its head says
}

// errClosed is the error of reading a closed Response.
var errClosed = errors.New("upstream: the response is closed")

// begin prepares the response of a use.
func (r *Response) begin(cn *Conn) {
	*r = Response{Head: newHead(), Body: Body{cn: cn, line: cn.line}, keep: true, toHEAD: r.toHEAD}
}

// detach releases the head and makes further reads fail.
func (r *Response) detach() {
	if r.cn == nil {
		return
	}
	r.ReleaseHead()
	if r.err == nil {
		r.err = errClosed
	}
	r.Body.line = nil
}

// ContentLength returns the body's length in bytes; -1 if it is not declared.
func (r *Response) ContentLength() int64 { return r.length }

// Sending reports whether the rest of the request is being written while the answer is
// read; Request.Body or Source may then be read until the use ends.
func (r *Response) Sending() bool { return r.cn != nil && r.cn.rest != nil }

// ToHEAD reports whether the response answers a HEAD. Its head then states the length
// that the answer to a GET would have (RFC 9110 section 8.6), and there is no body.
func (r *Response) ToHEAD() bool { return r.toHEAD }

// Close ends the response and the use of the connection, once. The connection is kept if
// the body came to its true end, the server allows it, and nothing came after the body.
// It is reset if the body did not come to its end, so that the model server stops.
func (r *Response) Close() {
	if r.cn == nil {
		return
	}
	switch {
	case r.err != io.EOF:
		r.cn.end(abort)
	case r.keep:
		r.cn.end(reuse)
	default:
		r.cn.end(finish)
	}
}
