package envelope

import "github.com/go-json-experiment/json/jsontext"

// A reader checks JSON (RFC 8259) without decoding it. It replaces jsontext's
// decoder because a body is mostly one long string, the prompt, which it skips in
// blocks. A fuzz test checks that the two agree, except about nesting beyond
// maxDepth and about UTF-8, which the caller validates first.
//
// Its methods fail as those of tokens do.
type reader struct {
	tokens
	depth int // open objects and arrays
}

// value skips a value and returns its kind, as jsontext does: '0' is any number.
// It recurses as deep as the value nests.
func (r *reader) value() (jsontext.Kind, bool) {
	switch c := r.peek(); c {
	case '"':
		return '"', r.text()
	case '{':
		return '{', r.object()
	case '[':
		return '[', r.array()
	case 't':
		return 't', r.literal("true")
	case 'f':
		return 'f', r.literal("false")
	case 'n':
		return 'n', r.literal("null")
	default:
		return '0', r.number()
	}
}

// open consumes the opening bracket that comes next, unless maxDepth are open.
func (r *reader) open() bool {
	if r.depth == maxDepth {
		return false
	}
	r.depth++
	r.at++
	return true
}

// close consumes the closing bracket c if it comes next.
func (r *reader) close(c byte) bool {
	if !r.take(c) {
		return false
	}
	r.depth--
	return true
}

// tooDeep reports whether the reader stopped at a bracket because maxDepth were
// open.
func (r *reader) tooDeep() bool {
	c := r.next()
	return r.depth == maxDepth && (c == '{' || c == '[')
}

func (r *reader) object() bool {
	if !r.open() {
		return false
	}
	if r.close('}') {
		return true
	}
	for {
		if r.peek() != '"' || !r.text() || !r.take(':') {
			return false
		}
		if _, ok := r.value(); !ok {
			return false
		}
		if !r.take(',') {
			return r.close('}')
		}
	}
}

func (r *reader) array() bool {
	_, _, ok := r.elements()
	return ok
}

// elements skips an array and counts its elements.
func (r *reader) elements() (numbers, others int, ok bool) {
	if !r.open() {
		return 0, 0, false
	}
	if r.close(']') {
		return 0, 0, true
	}
	for {
		kind, ok := r.value()
		if !ok {
			return 0, 0, false
		}
		if kind == '0' {
			numbers++
		} else {
			others++
		}
		if !r.take(',') {
			return numbers, others, r.close(']')
		}
	}
}
