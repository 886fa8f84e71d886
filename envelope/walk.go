package envelope

import (
	"fmt"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// A value is where in the body a member's value is.
type value struct {
	from, to int
	kind     jsontext.Kind // 0 if the member is absent
}

func (v value) present() bool { return v.kind != 0 }

// A walker goes over a body member by member and says where each value is, or what
// is wrong with the JSON and where.
type walker struct {
	json         reader
	open, closed int // offsets of the body's braces
}

// walk goes over a whole body, whose member names must differ; seen has room for
// them. It calls member as object does.
func (w *walker) walk(body []byte, seen *names, member func(name []byte, at int) error) error {
	if i := invalidUTF8(body); i >= 0 {
		return invalid("not UTF-8", i)
	}
	w.read(body)
	if w.json.peek() != '{' {
		if _, ok := w.json.value(); !ok {
			return w.syntax()
		}
		return invalid("not an object", 0)
	}
	w.open = w.json.at
	if err := w.object(seen, member); err != nil {
		return err
	}
	w.closed = w.json.at - 1
	if w.json.peek(); w.json.at < len(body) {
		return invalid("bytes after the object", w.closed+1)
	}
	return nil
}

// read starts at the beginning of body.
func (w *walker) read(body []byte) { w.json = reader{tokens: tokens{b: body}} }

// object reads an object, whose brace comes next. It calls member with each decoded
// name and its offset; member must read the value. A name that is already in seen
// is an error; with a nil seen, names may repeat.
func (w *walker) object(seen *names, member func(name []byte, at int) error) error {
	if !w.json.open() {
		return w.syntax()
	}
	if w.json.close('}') {
		return nil
	}
	for {
		if w.json.peek() != '"' {
			return w.syntax()
		}
		at := w.json.at
		if !w.json.text() {
			return w.syntax()
		}
		name := unquoteName(w.json.b[at:w.json.at])
		if seen != nil && !seen.add(name) {
			return invalid("a member name appears twice", at)
		}
		if !w.json.take(':') {
			return w.syntax()
		}
		if err := member(name, at); err != nil {
			return err
		}
		if w.json.take(',') {
			continue
		}
		if !w.json.close('}') {
			return w.syntax()
		}
		return nil
	}
}

// value skips a value and returns where it is.
func (w *walker) value() (value, error) {
	w.json.peek()
	from := w.json.at
	kind, ok := w.json.value()
	if !ok {
		return value{}, w.syntax()
	}
	return value{from, w.json.at, kind}, nil
}

// within is like value, but has member read the members of an object.
func (w *walker) within(seen *names, member func([]byte, int) error) (value, error) {
	if w.json.peek() != '{' {
		return w.value()
	}
	from := w.json.at
	if err := w.object(seen, member); err != nil {
		return value{}, err
	}
	return value{from, w.json.at, '{'}, nil
}

// raw returns a value as it is written.
func (w *walker) raw(v value) []byte { return w.json.b[v.from:v.to] }

// syntax returns the error for where the reader stopped. It quotes no content.
func (w *walker) syntax() error {
	switch {
	case w.json.at >= len(w.json.b):
		return invalid("it ends too early", len(w.json.b))
	case w.json.tooDeep():
		return invalid(fmt.Sprintf("nested deeper than %d", maxDepth), w.json.at)
	}
	return invalid("a syntax error", w.json.at)
}

func invalid(what string, at int) error {
	return fmt.Errorf("%w: %s, at offset %d", ErrInvalidJSON, what, at)
}

// invalidUTF8 returns the offset of the first byte that is not UTF-8, or -1.
func invalidUTF8(body []byte) int {
	if utf8.Valid(body) {
		return -1
	}
	for i := 0; i < len(body); {
		r, size := utf8.DecodeRune(body[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}
