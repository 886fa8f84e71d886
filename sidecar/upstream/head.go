package upstream

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/usher-sidecar/usher/sidecar/http1"
)

// A Head is the status and the fields of a response, as they arrived.
type Head struct {
	memory *headMemory // backs text and fields; nil: released
	text   []byte
	fields []field // in order of arrival
	status int
	line   span // "200 OK"
}

// A span is a part of a head's text.
type span struct{ from, to int }

// A field is a line of a head.
type field struct{ line, name, value span }

// A headMemory holds a head until it is released.
type headMemory struct {
	text   []byte
	fields []field
}

var headMemories = sync.Pool{New: func() any { return new(headMemory) }}

func newHead() Head {
	m := headMemories.Get().(*headMemory)
	return Head{memory: m, text: m.text[:0], fields: m.fields[:0]}
}

// reset prepares for the next head.
func (h *Head) reset() { h.text, h.fields = h.text[:0], h.fields[:0] }

// ReleaseHead frees the memory of the head, as early as before the Response is closed.
// Slices taken from the head must not be used afterwards. An open stream holds no head.
func (h *Head) ReleaseHead() {
	if m := h.memory; m != nil && cap(h.text) <= maxPooledHead {
		m.text, m.fields = h.text[:0], h.fields[:0]
		headMemories.Put(m)
	}
	h.memory, h.text, h.fields, h.line = nil, nil, nil, span{}
}

// at returns a part of the head.
func (h *Head) at(s span) []byte { return h.text[s.from:s.to] }

// StatusCode returns the status code, 200 to 999.
func (h *Head) StatusCode() int { return h.status }

// Status returns status code and reason as they were sent, as in "200 OK". There is
// a blank after the code even if no reason follows.
func (h *Head) Status() []byte { return h.at(h.line) }

// Bodiless reports whether the status allows neither a body nor a Content-Length (RFC
// 9110 section 8.6).
func (h *Head) Bodiless() bool { return h.status == 204 || h.status == 304 }

// Peek returns the first value of a field, whose name is given in lower case; nil if
// there is none.
func (h *Head) Peek(lower string) []byte {
	for _, f := range h.fields {
		if http1.EqualFold(h.at(f.name), lower) {
			return h.at(f.value)
		}
	}
	return nil
}

// Lists reports whether a list-valued field has token (in lower case) as an element (RFC
// 9110 section 5.6.1).
func (h *Head) Lists(lower, token string) bool {
	for _, f := range h.fields {
		if http1.EqualFold(h.at(f.name), lower) && http1.HasElement(h.at(f.value), []byte(token)) {
			return true
		}
	}
	return false
}

// AppendHeader appends the end-to-end fields, byte for byte and in order, repeated ones
// included, each ended by CR LF. It leaves out hop-by-hop fields, fields that Connection
// names, Content-Length, which is part of the framing, and fields that skip names; skip
// may be nil.
func (h *Head) AppendHeader(dst []byte, skip func(name []byte) bool) []byte {
	named := h.named()
	for _, f := range h.fields {
		name := h.at(f.name)
		if isHopByHop(name) || http1.EqualFold(name, "content-length") || named.Has(name) || skip != nil && skip(name) {
			continue
		}
		dst = append(dst, h.at(f.line)...)
		dst = append(dst, "\r\n"...)
	}
	return dst
}

// named returns the fields that Connection names.
func (h *Head) named() (named http1.NamedByConnection) {
	for _, f := range h.fields {
		if http1.EqualFold(h.at(f.name), "connection") {
			named.Add(h.at(f.value))
		}
	}
	return named
}

// parseStatusLine parses "HTTP/1.1 200 OK" (RFC 9112 section 4). If the reason is missing
// together with the blank before it, the blank is added, because it is required. http11
// reports whether the version is above 1.0.
func (h *Head) parseStatusLine(line span) (http11 bool, err error) {
	const code = len("HTTP/1.x ")
	text := h.at(line)
	if len(text) < code+3 || !bytes.HasPrefix(text, []byte("HTTP/1.")) || text[7] < '0' || text[7] > '9' ||
		text[8] != ' ' || len(text) > code+3 && text[code+3] != ' ' || !http1.Printable(text) {
		return false, fmt.Errorf("%w: not an HTTP/1 status line", ErrBroken)
	}
	h.status = 0
	for _, c := range text[code : code+3] {
		if c < '0' || c > '9' {
			return false, fmt.Errorf("%w: not a status code", ErrBroken)
		}
		h.status = 10*h.status + int(c-'0')
	}
	if h.status < 100 {
		return false, fmt.Errorf("%w: not a status code", ErrBroken)
	}
	h.line = span{line.from + code, line.to}
	if len(text) == code+3 {
		h.text[line.to] = ' ' // over the line end, which was read already
		h.line.to++
	}
	return text[7] != '0', nil
}

// addField parses a field line.
func (h *Head) addField(line span) error {
	name, value, ok := http1.SplitField(h.at(line))
	if !ok {
		line = closeUp(h.text, line)
		name, value, ok = http1.SplitField(h.at(line))
	}
	if !ok {
		return fmt.Errorf("%w: a malformed or folded header line", ErrBroken)
	}
	from := line.from + len(name) + len(":")
	for from < line.to && http1.IsBlank(h.text[from]) {
		from++
	}
	h.fields = append(h.fields, field{
		line: line, name: span{line.from, line.from + len(name)}, value: span{from, from + len(value)},
	})
	return nil
}

// closeUp removes blanks between a name and its colon, as RFC 9112 section 5.1 requires
// for a response that is passed on.
func closeUp(text []byte, line span) span {
	if colon := bytes.IndexByte(text[line.from:line.to], ':'); colon > 0 {
		name := text[line.from : line.from+colon]
		blanks := len(name) - len(bytes.TrimRight(name, " \t"))
		copy(name[blanks:], name)
		line.from += blanks
	}
	return line
}
