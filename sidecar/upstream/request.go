package upstream

import (
	"fmt"
	"strconv"

	"github.com/usher-sidecar/usher/sidecar/http1"
)

// appendHead writes the head of a request: the client's end-to-end fields as
// they were, in their order, and our own. What a client names in Connection is
// dropped with the hop-by-hop fields; what is set here is written whatever it
// names. A line that is not a header field is dropped: whoever read the request
// should have refused it, and it must not become a field here. ErrRequest when
// the target or the request's name could end the line they stand in.
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

// method is the request's, POST where none is set.
func (r *Request) method() []byte {
	if r.Method == nil {
		return methodPost
	}
	return r.Method
}

var methodPost = []byte("POST")

// anticipatesBody reports whether the method is one whose requests say so where
// they have no body (RFC 9110 section 8.6).
func (r *Request) anticipatesBody() bool {
	switch string(r.method()) {
	case "POST", "PUT", "PATCH":
		return true
	}
	return false
}

// without says which of a client's end-to-end fields are left out.
type without struct{ traceparent, origin bool }

func (w without) names(name []byte) bool {
	return w.traceparent && http1.EqualFold(name, "traceparent") || w.origin && http1.EqualFold(name, "origin")
}

// appendFields appends a client's end-to-end fields, of a block of header lines.
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

// namedIn finds what the Connection fields of a block of header lines name.
func namedIn(block []byte) (named http1.NamedByConnection) {
	for len(block) > 0 {
		var line []byte
		line, block = http1.CutLine(block)
		if len(line) == 0 || line[0]|0x20 != 'c' {
			continue // as most
		}
		if name, value, ok := http1.SplitField(line); ok && http1.EqualFold(name, "connection") {
			named.Add(value)
		}
	}
	return named
}
