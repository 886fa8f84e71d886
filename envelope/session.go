package envelope

import (
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// The bounds of a session's lifetime, and what it is where none is asked for.
const (
	MinLifetime     = time.Second
	MaxLifetime     = 24 * time.Hour
	DefaultLifetime = time.Minute
)

// A Creation is what a client asks a session with: a nested body whose payload
// holds the terms. The slices are parts of the body.
type Creation struct {
	Ticket   Ticket
	AuthData []byte // the ticket's object, as it was given
	Lifetime time.Duration

	OnCloseRoute   string // the path that is called when the session ends; "": none
	OnClosePayload []byte // the body of that call, an object; nil: none was given
}

// The members of a creation's payload that are read.
const (
	termLifetime = iota
	termRoute
	termPayload
	termCount
)

var termNames = [termCount]string{"lifetime", "on_close_route", "on_close_payload"}

// Open reads the body of a session's creation. A member of null counts as absent.
// Errors: ErrInvalidJSON, wrapped; a *TicketError that names all faults, of the
// ticket and of the terms.
func (c *Creation) Open(body []byte, opt Options) error {
	*c = Creation{}
	s := scanners.Get().(*scanner)
	defer s.release()
	if err := s.scan(body); err != nil {
		return err
	}
	faults := s.nestedFaults()
	if !s.authData.present() {
		return &TicketError{append(faults, "auth_data is missing")}
	}
	authData, payload := s.authData, s.payload
	d := decoder{body: body, opt: opt, faults: faults}
	c.Ticket = d.ticket(&s.auth)
	if payload.kind == '{' && d.err == nil {
		d.err = c.terms(s, &d, payload)
	}
	if d.err != nil {
		return d.err
	}
	if len(d.faults) > 0 {
		return &TicketError{d.faults}
	}
	c.AuthData = body[authData.from:authData.to]
	return nil
}

// terms reads the payload, which is known to be an object.
func (c *Creation) terms(s *scanner, d *decoder, payload value) error {
	var terms [termCount]value
	s.names[2].reset()
	s.json.at, s.json.depth = payload.from, 1
	err := s.object(&s.names[2], func(name []byte, _ int) error {
		v, err := s.value()
		for i, known := range termNames {
			if string(name) == known && v.kind != 'n' {
				terms[i] = v
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	c.Lifetime = DefaultLifetime
	if v := terms[termLifetime]; v.present() {
		seconds, err := strconv.ParseFloat(string(d.raw(v)), 64)
		if c.Lifetime = time.Duration(seconds * float64(time.Second)); err != nil || v.kind != '0' || seconds < MinLifetime.Seconds() || seconds > MaxLifetime.Seconds() {
			d.faults = append(d.faults, fmt.Sprintf("lifetime is not a number of seconds from %g to %g", MinLifetime.Seconds(), MaxLifetime.Seconds()))
		}
	}
	if v := terms[termRoute]; v.present() {
		route, err := unquoted(d.raw(v), v.kind)
		if c.OnCloseRoute = string(route); err != nil || c.OnCloseRoute == "" {
			d.faults = append(d.faults, "on_close_route is not a path")
		}
	}
	if v := terms[termPayload]; v.present() {
		if c.OnClosePayload = d.raw(v); v.kind != '{' {
			d.faults = append(d.faults, "on_close_payload is not an object")
		}
	}
	return nil
}

// A Claim is what a client says to have a session: its id, and the ticket that it
// was created with. It aliases the body.
type Claim struct {
	ID     []byte
	Ticket Ticket // the zero value: what was shown is no ticket
}

// Open reads the body of a question about a session, {"session_id",
// "session_auth"}. What is shown in place of an id or a ticket and is none is no
// fault, it just opens nothing. The error is ErrInvalidJSON, wrapped.
func (c *Claim) Open(body []byte) error {
	*c = Claim{}
	s := scanners.Get().(*scanner)
	defer s.release()
	var id value
	err := s.scanBy(body, func(name []byte, at int) (err error) {
		switch {
		case string(name) == "session_id":
			id, err = s.value()
		case string(name) == "session_auth":
			s.authData, err = s.within(&s.names[1], s.authMember)
		default:
			_, err = s.value()
		}
		return err
	})
	if err != nil {
		return err
	}
	if c.ID, err = unquoted(body[id.from:id.to], id.kind); err != nil {
		c.ID = nil // of no session
	}
	d := decoder{body: body, opt: Options{ReqnumOptional: true}}
	if t := d.ticket(&s.auth); s.authData.kind == '{' && d.err == nil && len(d.faults) == 0 {
		c.Ticket = t
	}
	return nil
}

// named is what stands in a nested body as the id of the session that the
// request belongs to; nil: it belongs to none. What is no string is the id of no
// session.
func (s *scanner) named() []byte {
	v := s.session
	if !v.present() || v.kind == 'n' {
		return nil
	}
	raw := s.body[v.from:v.to]
	if id, err := unquoted(raw, v.kind); err == nil {
		return id
	}
	return raw
}

// unquoted decodes a string; any other value is an error. It aliases raw where it
// can, and is not nil.
func unquoted(raw []byte, kind jsontext.Kind) ([]byte, error) {
	if kind != '"' {
		return nil, errNoString
	}
	for _, c := range raw {
		if c == '\\' {
			return jsontext.AppendUnquote([]byte{}, raw)
		}
	}
	return raw[1 : len(raw)-1], nil
}
