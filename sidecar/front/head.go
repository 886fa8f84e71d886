package front

import (
	"bytes"
	"sync"

	"github.com/usher-sidecar/usher/sidecar/http1"
)

// MaxHead bounds a request head, in bytes. Half of it is for Authorization, which may
// hold a ticket: the rest is bounded by maxRest.
const (
	MaxHead = 16 << 10
	maxRest = 8 << 10
)

// maxFields is how many header fields a request may have.
const maxFields = 100

// A Head is a request's head as it came off the wire, parsed once. Its slices are valid
// until Release, and no longer than the request is served.
type Head struct {
	Method, Target []byte
	Path, Query    []byte // of the target, as sent; Query without its question mark
	Block          []byte // the header lines, each with its CR LF
	HTTP11         bool
	Close          bool // the connection ends with this request
	Encoded        bool // the body has a Content-Encoding other than identity

	fault  *Fault // why it is unacceptable; nil: it is acceptable
	total  int    // number of its fields
	rest   int    // bytes of its lines, without Authorization
	memory *headMemory
}

// A headMemory holds a head while its request is served, and no longer.
type headMemory struct {
	raw    []byte
	fields [knownFields]field
}

// A field is what a head has of a known field.
type field struct {
	value []byte // of the last one
	count int
}

// The connection options that concern the connection itself.
var closing, keepAlive = []byte("close"), []byte("keep-alive")

// headMemories hold heads while their requests are served. Most are small.
var headMemories = sync.Pool{New: func() any { return &headMemory{raw: make([]byte, 0, 2<<10)} }}

// add adds a piece to the head. The first one begins it.
func (h *Head) add(piece []byte) {
	if h.memory == nil {
		h.memory = headMemories.Get().(*headMemory)
	}
	h.memory.raw = append(h.memory.raw, piece...)
}

// Release frees the memory, so that a silent stream holds none, and forgets everything that
// was parsed. Slices of the head must not be used afterwards. It may be called more than
// once.
func (h *Head) Release() {
	if m := h.memory; m != nil && cap(m.raw) <= 4<<10 {
		*m = headMemory{raw: m.raw[:0]}
		headMemories.Put(m)
	}
	*h = Head{}
}

// parse parses the head: all of it, or as much as arrived of one that was broken off,
// whose answer needs a shape. Of several faults the first one counts.
func (h *Head) parse() {
	if h.memory == nil {
		return
	}
	rest := bytes.TrimLeft(h.memory.raw, "\r\n") // RFC 9112 section 2.2
	line, rest := http1.CutLine(rest)
	parseRequestLine(h, line)
	h.Block = rest
	for len(rest) > 0 {
		before := rest
		line, rest = http1.CutLine(rest)
		if len(line) == 0 { // the empty line, or a part of it
			h.Block = h.Block[:len(h.Block)-len(before)]
			break
		}
		parseField(h, line)
	}
	h.Close = h.Close || !h.HTTP11 && !http1.HasElement(h.Value(Connection), keepAlive)
	judge(h)
}

// parseRequestLine parses method, target and version.
func parseRequestLine(h *Head, line []byte) {
	if h.rest = len(line); h.rest > maxRest {
		h.fail(414, "The request target is too long")
	}
	method, rest, _ := bytes.Cut(line, []byte(" "))
	target, version, _ := bytes.Cut(rest, []byte(" "))
	h.Method, h.Target = method, target
	h.Path, h.Query = splitTarget(target)
	h.HTTP11 = string(version) == "HTTP/1.1"
	switch {
	case len(method) == 0 || !isVersion(version) || string(target) == "*" && !h.Is("OPTIONS"):
		h.fail(400, "The request is not acceptable HTTP/1.1")
	case !h.HTTP11 && string(version) != "HTTP/1.0":
		h.fail(505, "Use HTTP/1.1")
	case !plainTarget(target):
		h.fail(400, "The request target holds a byte that must be percent-encoded")
	case !plainForm(target):
		h.fail(400, "The request target is neither a path nor an http URL")
	}
}

// isVersion reports whether b is an HTTP version (RFC 9112 section 2.3).
func isVersion(b []byte) bool {
	return len(b) == len("HTTP/1.1") && string(b[:5]) == "HTTP/" && b[6] == '.' &&
		'0' <= b[5] && b[5] <= '9' && '0' <= b[7] && b[7] <= '9'
}

// parseField parses one field line, without its line end.
func parseField(h *Head, line []byte) {
	colon := bytes.IndexByte(line, ':')
	if colon < 1 || !http1.IsToken(line[:colon]) {
		h.fail(400, "A header line is folded or its name is malformed")
		return
	}
	name, value := line[:colon], http1.TrimBlanks(line[colon+1:])
	for _, c := range value {
		if !http1.IsText(c) {
			h.fail(400, "A header value holds a control byte")
			return
		}
	}
	if h.total++; h.total > maxFields {
		h.fail(431, "The request has too many header fields")
	}
	if bytes.IndexByte(name, '_') >= 0 && shadowsFraming(name) {
		h.fail(400, "A header name shadows one that frames the body")
	}
	f, known := knownField(name)
	if !known || f != Authorization {
		if h.rest += len(line) + len("\r\n"); h.rest > maxRest {
			h.fail(431, "The request head is too large")
		}
	}
	if !known {
		return
	}
	h.memory.fields[f].value = value
	h.memory.fields[f].count++
	switch f {
	case Connection:
		h.Close = h.Close || http1.HasElement(value, closing)
	case ContentEncoding:
		h.Encoded = h.Encoded || len(value) > 0 && !http1.EqualFold(value, "identity")
	}
}

// Value returns the value of a field, the last one if there are several; nil if there is
// none.
func (h *Head) Value(f Field) []byte { return h.field(f).value }

func (h *Head) field(f Field) field {
	if h.memory == nil {
		return field{}
	}
	return h.memory.fields[f]
}

// Only returns the value of a field that must appear exactly once; nil if it does not.
func (h *Head) Only(f Field) []byte {
	if h.field(f).count != 1 {
		return nil
	}
	return h.field(f).value
}

// Values returns the values of all fields of a name, which is given in lower case.
func (h *Head) Values(name string) (list [][]byte) {
	for rest := h.Block; len(rest) > 0; {
		var line []byte
		line, rest = http1.CutLine(rest)
		if n, value, ok := http1.SplitField(line); ok && http1.EqualFold(n, name) {
			list = append(list, value)
		}
	}
	return list
}

// Is reports whether the method is the given one.
func (h *Head) Is(method string) bool { return string(h.Method) == method }

// Length returns the declared length of the body; -1 if it comes in chunks, 0 if there is
// none.
func (h *Head) Length() int64 {
	if h.field(transferEncoding).count > 0 {
		return -1
	}
	n, _ := http1.ParseLength(h.field(contentLength).value)
	return n
}

// endsKnown reports whether client and server agree on where the request ends: a POST
// without a length has no body by RFC 9112 section 6.3, but its client may well think
// that it has one.
func endsKnown(h *Head) bool {
	return h.field(contentLength).count+h.field(transferEncoding).count > 0 || !h.Is("POST")
}

// splitTarget splits a request target into path and query. The absolute form (RFC 9112
// section 3.2.2) is reduced to its path: the host does not matter, because there is only
// one model server.
func splitTarget(target []byte) (path, query []byte) {
	if len(target) > 0 && target[0] != '/' {
		if i := bytes.Index(target, []byte("://")); i > 0 {
			rest := target[i+3:]
			if slash := bytes.IndexByte(rest, '/'); slash >= 0 {
				target = rest[slash:]
			}
		}
	}
	path, query, _ = bytes.Cut(target, []byte("?"))
	return path, query
}
