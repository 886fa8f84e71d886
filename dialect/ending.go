package dialect

import "bytes"

// An Ending marks the final event of an API's streams: every complete stream contains it,
// like OpenAI's "data: [DONE]". A stream that ends cleanly without it broke inside the
// model server. The mark is a JSON member anywhere in an event or, for some APIs, a line.
type Ending struct {
	member string   // the name and its closing quote; the opening quote is left out, since searching for quotes is slow
	values []string // how its value may begin; none: any string that is not empty
	done   bool     // "data: [DONE]" counts as well
}

// The endings. That of /generate is TGI's member or SGLang's line.
var (
	endOpenAI    = &Ending{member: `finish_reason"`, done: true}
	endGenerate  = &Ending{member: `generated_text"`, values: []string{`"`}, done: true}
	endOllama    = &Ending{member: `done"`, values: []string{`true`}}
	endMessages  = &Ending{member: `type"`, values: []string{`"message_stop"`}}
	endResponses = &Ending{member: `type"`, values: []string{`"response.completed"`, `"response.incomplete"`, `"response.failed"`}}
)

// doneLine is the line of an event stream after which nothing follows. The space may be
// missing.
const doneLine = "data: [DONE]"

// longestMember and longestValue bound what a Finish keeps.
const (
	longestMember = len(`generated_text"`)
	longestValue  = len(`"response.incomplete"`)
)

// A Finish looks for an Ending in a stream as it passes, in pieces of any size. It keeps
// a few bytes of the stream, and searches each piece for the name. It assumes events of
// JSON: a name in the model's text does not match, because its quotes are escaped, and
// no line begins inside that text. The zero value looks for nothing.
type Finish struct {
	ending *Ending
	seen   bool
	line   int // how many bytes of doneLine have matched; -1: this is another line
	state  finishState
	kept   int                 // bytes kept in edge, or in value
	edge   [longestMember]byte // while seeking: the last bytes, fewer than a name
	value  [longestValue]byte  // the value, as far as it has arrived
}

type finishState uint8

const (
	seekMember finishState = iota
	atColon
	atValue
)

// Watch returns a Finish that looks for e; e may be nil.
func (e *Ending) Watch() Finish { return Finish{ending: e} }

// Missing reports whether the stream, if it ended here, would lack its final event.
func (f *Finish) Missing() bool { return f.ending != nil && !f.seen }

// Write takes the next piece of the stream.
func (f *Finish) Write(p []byte) {
	if !f.Missing() {
		return
	}
	f.seen = f.ending.done && f.lines(p) || f.members(p)
}

// lines reports whether doneLine has arrived.
func (f *Finish) lines(p []byte) bool {
	for len(p) > 0 {
		if f.line < 0 {
			end := bytes.IndexByte(p, '\n')
			if end < 0 {
				return false
			}
			p, f.line = p[end:], 0
		}
		switch c := p[0]; {
		case c == '\n':
			f.line = 0
		case c == doneLine[f.line]:
			f.line++
		case c == '[' && doneLine[f.line] == ' ':
			f.line += len(" [")
		default:
			f.line = -1
		}
		if f.line == len(doneLine) {
			return true
		}
		p = p[1:]
	}
	return false
}

// members reports whether the member has arrived with one of its values.
func (f *Finish) members(p []byte) bool {
	for len(p) > 0 {
		c := p[0]
		blank := c == ' ' || c == '\t' || c == '\r' || c == '\n'
		switch {
		case f.state == seekMember:
			p = p[f.seek(p):]
			continue
		case f.state == atColon && c == ':':
			f.state, f.kept = atValue, 0
		case blank && (f.state == atColon || f.kept == 0):
		case f.state == atColon:
			f.state, f.kept = seekMember, 0
			continue // c may begin a name
		default:
			f.value[f.kept] = c
			f.kept++
			good, open := f.ending.judge(f.value[:f.kept])
			if good {
				return true
			}
			if !open {
				f.state, f.kept = seekMember, 0
			}
		}
		p = p[1:]
	}
	return false
}

// seek looks for the name and returns how many bytes of p it consumed. If it finds the
// name, it consumes nothing after it.
func (f *Finish) seek(p []byte) int {
	name := f.ending.member
	var border [2 * longestMember]byte
	n := copy(border[:], f.edge[:f.kept])
	n += copy(border[n:], p[:min(len(p), len(name)-1)])
	if i := bytes.Index(border[:n], []byte(name)); i >= 0 {
		done := i + len(name) - f.kept
		f.state, f.kept = atColon, 0
		return done
	}
	if i := bytes.Index(p, []byte(name)); i >= 0 {
		f.state, f.kept = atColon, 0
		return i + len(name)
	}
	rest := border[:n]
	if len(p) >= len(name)-1 {
		rest = p
	}
	f.kept = copy(f.edge[:], rest[max(0, len(rest)-len(name)+1):])
	return len(p)
}

// judge reports whether the beginning of a value is one that ends a stream (good) and,
// if not, whether it may become one with more bytes (open).
func (e *Ending) judge(value []byte) (good, open bool) {
	if len(e.values) == 0 {
		return len(value) > 1 && value[1] != '"', len(value) == 1 && value[0] == '"'
	}
	for _, v := range e.values {
		if len(value) <= len(v) && string(value) == v[:len(value)] {
			return len(value) == len(v), true
		}
	}
	return false, false
}
