package envelope

import (
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// The bounds of a session's lifetime, and its default.
const (
	MinLifetime     = time.Second
	MaxLifetime     = 24 * time.Hour
	DefaultLifetime = time.Minute
)

// A Creation is a request to create a session: a nested body whose payload holds
// the terms. Its slices alias the body.
type Creation struct {
	Ticket   Ticket
	AuthData []byte // the ticket's object, as it was sent
	Lifetime time.Duration

	OnCloseRoute   string // the path to call when the session ends; "" if none
	OnClosePayload []byte // the body of that call, an object; nil if none was sent
}

// The terms: the members of a creation's payload.
const (
	termLifetime = iota
	termRoute
	termPayload
	termCount
)

var termNames = [termCount]string{"lifetime", "on_close_route", "on_close_payload"}

// Open parses the body of a request to create a session. A null member counts as
// absent. Errors: ErrInvalidJSON, wrapped; a *TicketError that names all faults of
// the ticket and the terms.
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

// terms reads the payload, which must be an object.
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

// A Claim is what a client presents to manage a session: its id, and the ticket it
// was created with. ID aliases the body.
type Claim struct {
	ID     []byte
	Ticket Ticket // the zero value if what was presented is not a ticket
}

// Open parses {"session_id", "session_auth"}, the body of a request that manages a
// session. An id or ticket that is malformed is not an error: it matches no
// session. The error is ErrInvalidJSON, wrapped.
func (c *Claim) Open(body []byte) error {
	*c = Claim{}
	s := scanners.Get().(*scanner)
	defer s.release()
	var id value
	err := s.walk(body, &s.names[0], func(name []byte, at int) (err error) {
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
		c.ID = nil // matches no session
	}
	d := decoder{body: body, opt: Options{ReqnumOptional: true}}
	if t := d.ticket(&s.auth); s.authData.kind == '{' && d.err == nil && len(d.faults) == 0 {
		c.Ticket = t
	}
	return nil
}

// named returns the id of the session that a nested body names, or nil if it names
// none. An id that is not a string is returned as it is written, which matches no
// session.
func (s *scanner) named() []byte {
	v := s.session
	if !v.present() || v.kind == 'n' {
		return nil
	}
	raw := s.raw(v)
	if id, err := unquoted(raw, v.kind); err == nil {
		return id
	}
	return raw
}

// unquoted decodes a string; any other value is an error. The result is never nil
// and aliases raw where there is no escape.
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
