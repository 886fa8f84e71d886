package upstream

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/usher-sidecar/usher/sidecar/http1"
)

// A Response is the model server's answer, read as it comes. It belongs to one
// goroutine, and ends with Close. Slices that its methods return are valid until
// then.
type Response struct {
	cn     *Conn
	memory *headMemory // of head and fields; nil: released
	head   []byte      // as it came; the fields point into it
	fields []field     // in their order
	status int
	line   span // "200 OK"

	length  int64 // of the body; -1: its end will tell
	body    framing
	left    int64 // byLength: still to come
	chunks  http1.Chunked
	keep    bool // the connection may be used again
	toHEAD  bool // answers a HEAD, and has no body whatever its head says
	err     error
	renewed time.Time // when the read deadline was set
	drained bool      // Look has read all that was here, and waits for Arrived
	final   bool      // see Arrived
}

// A span is a part of a head.
type span struct{ from, to int }

// A field is a line of a head.
type field struct{ line, name, value span }

// A framing is how a body ends (RFC 9112 section 6.3).
type framing uint8

const (
	byLength framing = iota
	byChunks
	byClose
)

// errCutShort says that the connection ended before the body.
var errCutShort = fmt.Errorf("%w: its body was cut short", ErrBroken)

// errClosed is the error of reading a closed Response.
var errClosed = errors.New("upstream: the response is closed")

// A headMemory is what a head needs until it is released.
type headMemory struct {
	head   []byte
	fields []field
}

var headMemories = sync.Pool{New: func() any { return new(headMemory) }}

// begin prepares the response of a use.
func (r *Response) begin(cn *Conn) {
	m := headMemories.Get().(*headMemory)
	*r = Response{cn: cn, memory: m, head: m.head[:0], fields: m.fields[:0], keep: true, toHEAD: r.toHEAD}
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

// ReleaseHead frees the memory of the head before Close does. Slices taken from it
// must not be used afterwards. An open stream holds none.
func (r *Response) ReleaseHead() {
	if m := r.memory; m != nil && cap(r.head) <= maxPooledHead {
		m.head, m.fields = r.head[:0], r.fields[:0]
		headMemories.Put(m)
	}
	r.memory, r.head, r.fields, r.line = nil, nil, nil, span{}
}

func (r *Response) text(s span) []byte { return r.head[s.from:s.to] }

// StatusCode returns the status code, 200 to 999.
func (r *Response) StatusCode() int { return r.status }

// Status returns status code and reason as they were sent, as in "200 OK". There is
// a blank after the code even if no reason follows.
func (r *Response) Status() []byte { return r.text(r.line) }

// ContentLength returns the body's length in bytes; -1 if it is not declared.
func (r *Response) ContentLength() int64 { return r.length }

// Sending reports whether the rest of the request may still be read, to be written
// beside the answer, until the use ends.
func (r *Response) Sending() bool { return r.cn != nil && r.cn.rest != nil }

// ToHEAD reports whether it answers a HEAD. Its head then states the length that
// the answer to a GET would have (RFC 9110 section 8.6), and there is no body.
func (r *Response) ToHEAD() bool { return r.toHEAD }

// Bodiless reports whether the status allows no body, nor a Content-Length that
// would speak of one (RFC 9110 section 8.6).
func (r *Response) Bodiless() bool { return r.status == 204 || r.status == 304 }

// Peek returns the first value of a field, by its name in lower case; nil if there
// is none.
func (r *Response) Peek(lower string) []byte {
	for _, f := range r.fields {
		if http1.EqualFold(r.text(f.name), lower) {
			return r.text(f.value)
		}
	}
	return nil
}

// Lists reports whether a field whose value is a list has token (in lower case)
// as an element (RFC 9110 section 5.6.1).
func (r *Response) Lists(lower, token string) bool {
	for _, f := range r.fields {
		if http1.EqualFold(r.text(f.name), lower) && http1.HasElement(r.text(f.value), []byte(token)) {
			return true
		}
	}
	return false
}

// AppendHeader appends the end-to-end fields, byte for byte, in their order,
// repeated ones repeated, each ended by CR LF. It leaves out hop-by-hop fields,
// those that Connection names, Content-Length, which belongs to the framing,
// and those that skip names; skip may be nil.
func (r *Response) AppendHeader(dst []byte, skip func(name []byte) bool) []byte {
	named := r.named()
	for _, f := range r.fields {
		name := r.text(f.name)
		if isHopByHop(name) || http1.EqualFold(name, "content-length") || named.Has(name) || skip != nil && skip(name) {
			continue
		}
		dst = append(dst, r.text(f.line)...)
		dst = append(dst, "\r\n"...)
	}
	return dst
}

func (r *Response) named() (named http1.NamedByConnection) {
	for _, f := range r.fields {
		if http1.EqualFold(r.text(f.name), "connection") {
			named.Add(r.text(f.value))
		}
	}
	return named
}
