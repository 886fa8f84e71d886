package upstream

import (
	"fmt"
	"strconv"

	"github.com/usher-sidecar/usher/sidecar/http1"
)

// appendHead writes the head of a request: the client's end-to-end fields unchanged and
// in order, and our own. Fields that the client names in Connection are dropped like
// hop-by-hop fields; fields that are set here are written even if Connection names them.
// A line that is not a field line is dropped: it should have been refused before, and
// must not become a field here. The error is ErrRequest if the target, the method or the
// request id would break the head.
func (o *Options) appendHead(dst []byte, r *Request) ([]byte, error) {
	if len(r.Path) == 0 || r.Path[0] != '/' || !http1.Visible(r.Path) || !http1.Visible(r.Query) {
		return dst, fmt.Errorf("%w: its target cannot be written", ErrRequest)
	}
	method := r.method()
	if !http1.IsToken(method) {
		return dst, fmt.Errorf("%w: its method cannot be written", ErrRequest)
	}
	dst = append(append(dst, method...), ' ')
	dst = append(dst, o.PathPrefix...)
	dst = append(dst, r.Path...)
	dst = AppendQuery(dst, r.Query)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, o.Host...)
	dst = append(dst, "\r\n"...)
	dst = appendFields(dst, r.Header, without{traceparent: r.Traceparent != "", origin: o.WithoutOrigin})
	if r.Traceparent != "" {
		dst = append(dst, "traceparent: "...)
		dst = append(dst, r.Traceparent...)
		dst = append(dst, "\r\n"...)
	}
	if o.Authorization != "" {
		dst = append(dst, "Authorization: "...)
		dst = append(dst, o.Authorization...)
		dst = append(dst, "\r\n"...)
	}
	if r.RequestID != "" {
		from := len(dst)
		dst = append(dst, "X-Request-Id: "...)
		dst = append(dst, r.RequestID...)
		if !http1.Printable(dst[from:]) {
			return dst, fmt.Errorf("%w: its X-Request-Id cannot be written", ErrRequest)
		}
		dst = append(dst, "\r\n"...)
	}
	length := int64(len(r.Body))
	if r.Source != nil {
		length = r.Length
	}
	switch {
	case length < 0:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	case length > 0 || r.anticipatesBody():
		dst = append(dst, "Content-Length: "...)
		dst = append(strconv.AppendInt(dst, length, 10), "\r\n"...)
	}
	return append(dst, "\r\n"...), nil
}

// method returns the request's method, by default POST.
func (r *Request) method() []byte {
	if r.Method == nil {
		return methodPost
	}
	return r.Method
}

var methodPost = []byte("POST")

// anticipatesBody reports whether a request of this method needs a Content-Length
// even without a body (RFC 9110 section 8.6).
func (r *Request) anticipatesBody() bool {
	switch string(r.method()) {
	case "POST", "PUT", "PATCH":
		return true
	}
	return false
}

// without says which of a client's end-to-end fields to leave out.
type without struct{ traceparent, origin bool }

func (w without) names(name []byte) bool {
	return w.traceparent && http1.EqualFold(name, "traceparent") || w.origin && http1.EqualFold(name, "origin")
}

// appendFields appends the client's end-to-end fields from a block of field lines.
func appendFields(dst, block []byte, skip without) []byte {
	named := namedIn(block)
	for rest := block; len(rest) > 0; {
		var line []byte
		line, rest = http1.CutLine(rest)
		name, _, ok := http1.SplitField(line)
		if !ok || isHopByHop(name) || isOurs(name) || skip.names(name) || named.Has(name) {
			continue
		}
		dst = append(dst, line...)
		dst = append(dst, "\r\n"...)
	}
	return dst
}

// namedIn returns what the Connection fields in a block of field lines name.
func namedIn(block []byte) (named http1.NamedByConnection) {
	for len(block) > 0 {
		var line []byte
		line, block = http1.CutLine(block)
		if len(line) == 0 || line[0]|0x20 != 'c' {
			continue // the usual case
		}
		if name, value, ok := http1.SplitField(line); ok && http1.EqualFold(name, "connection") {
			named.Add(value)
		}
	}
	return named
}
