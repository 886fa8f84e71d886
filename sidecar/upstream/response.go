package upstream

import (
	"errors"
	"fmt"
	"time"

	"github.com/usher-sidecar/usher/sidecar/http1"
)

// A Response is the model server's answer, read as it arrives. It belongs to one
// goroutine, and ends with Close. Slices that its methods return are valid until then.
type Response struct {
	Head
	cn *Conn

	length  int64 // of the body; -1: not declared
	body    framing
	left    int64 // byLength: bytes still to come
	chunks  http1.Chunked
	keep    bool // the connection may be reused
	toHEAD  bool // it answers a HEAD, and has no body whatever its head says
	err     error
	renewed time.Time // when renew last set the read deadline
	drained bool      // Look has read everything; the next event is told by Arrived
	final   bool      // see Arrived
}

// A framing is how a body ends (RFC 9112 section 6.3).
type framing uint8

const (
	byLength framing = iota
	byChunks
	byClose
)

// errCutShort means that the connection ended before the body.
var errCutShort = fmt.Errorf("%w: its body was cut short", ErrBroken)

// errClosed is the error of reading a closed Response.
var errClosed = errors.New("upstream: the response is closed")

// begin prepares the response of a use.
func (r *Response) begin(cn *Conn) {
	*r = Response{Head: newHead(), cn: cn, keep: true, toHEAD: r.toHEAD}
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
}

// ContentLength returns the body's length in bytes; -1 if it is not declared.
func (r *Response) ContentLength() int64 { return r.length }

// Sending reports whether the rest of the request is being written while the answer is
// read; Request.Body or Source may then be read until the use ends.
func (r *Response) Sending() bool { return r.cn != nil && r.cn.rest != nil }

// ToHEAD reports whether the response answers a HEAD. Its head then states the length
// that the answer to a GET would have (RFC 9110 section 8.6), and there is no body.
func (r *Response) ToHEAD() bool { return r.toHEAD }
