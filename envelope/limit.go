package envelope

import (
	"bytes"
	"strconv"

	"github.com/usher-sidecar/usher/crypto"
	"github.com/usher-sidecar/usher/dialect"
)

// WithLimit returns the payload with the limit added that the request left out:
// the largest integer with limit × copies × prompts ≤ cost, at most
// math.MaxInt64, under the name that the engine reads. All other bytes stay as
// they are. ok is false if even a limit of 1 would exceed the cost. For an API
// whose limit has no known name the payload is returned unchanged. Call it only
// if the request's Work is not Stated.
func (e *Envelope) WithLimit(api *dialect.API, engine dialect.Engine, cost crypto.Cost) (payload []byte, ok bool) {
	if len(api.Insert) == 0 {
		return e.Payload, true
	}
	work, err := e.Work(api, engine)
	if err != nil {
		return nil, false
	}
	n := work.most(cost)
	if n < 1 {
		return nil, false
	}
	literal := strconv.AppendInt(nil, n, 10)
	payload = e.Payload
	flavour := e.flavour(api, api.Known(engine))
	for _, r := range api.Insert {
		if r.By(flavour) {
			payload = insert(payload, r.Member, literal)
		}
	}
	return payload, true
}

// insert adds a member, and the object that contains it if there is none.
func insert(payload []byte, m dialect.Member, literal []byte) []byte {
	if m.In() == dialect.Body {
		return setMember(payload, 0, m.Name(), literal)
	}
	if v, ok := find(payload, 0, m.In().Name()); ok && v.kind == '{' {
		return setMember(payload, v.from, m.Name(), literal)
	}
	object := append([]byte(`{"`+m.Name()+`":`), literal...)
	return setMember(payload, 0, m.In().Name(), append(object, '}'))
}

// setMember sets a member of the object that begins at offset at: in place if it is
// there (as null), else as the first member.
func setMember(body []byte, at int, name string, literal []byte) []byte {
	if v, ok := find(body, at, name); ok {
		return splice(body, v.from, v.to, literal)
	}
	insert := append([]byte(`"`+name+`":`), literal...)
	open := at + bytes.IndexByte(body[at:], '{') + 1
	if rest := bytes.TrimLeft(body[open:], " \t\r\n"); rest[0] != '}' {
		insert = append(insert, ',')
	}
	return splice(body, open, open, insert)
}

func splice(body []byte, from, to int, literal []byte) []byte {
	out := make([]byte, 0, len(body)-(to-from)+len(literal))
	out = append(out, body[:from]...)
	out = append(out, literal...)
	return append(out, body[to:]...)
}

// find looks up a member of the object that begins at offset at. The body must be
// valid.
func find(body []byte, at int, name string) (value, bool) {
	s := scanners.Get().(*scanner)
	defer s.release()
	s.read(body[at:])
	s.json.peek()
	var found value
	_ = s.object(nil, func(got []byte, _ int) error {
		v, err := s.value()
		if err == nil && string(got) == name {
			found = value{at + v.from, at + v.to, v.kind}
		}
		return err
	})
	return found, found.present()
}
