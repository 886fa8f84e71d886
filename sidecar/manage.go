package sidecar

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/usher-sidecar/usher/config/route"
	"github.com/usher-sidecar/usher/envelope"
	"github.com/usher-sidecar/usher/sidecar/account"
	"github.com/usher-sidecar/usher/sidecar/front"
	"github.com/usher-sidecar/usher/sidecar/gate"
)

// The paths on which sessions are managed, if they are enabled: config.SessionPaths.
const (
	pathSessionCreate = "/session/create"
	pathSessionGet    = "/session/get"
	pathSessionHealth = "/session/health"
	pathSessionEnd    = "/session/end"
)

// manages reports whether a route is one of those that manage sessions.
func (s *sessions) manages(r *route.Entry) bool {
	if s == nil || r.Method != http.MethodPost {
		return false
	}
	switch r.Label {
	case pathSessionCreate, pathSessionGet, pathSessionHealth, pathSessionEnd:
		return true
	}
	return false
}

// maxSessionBody bounds the body of a request about a session, in bytes.
const maxSessionBody = 64 << 10

// endPatience is how long the answer to /session/end waits for the closing call. The
// usual clients wait longer than this for an answer.
const endPatience = 5 * time.Second

// errRouteToClose refuses a session whose on_close_route is not a route.
var errRouteToClose = &envelope.TicketError{Faults: []string{"on_close_route is not a path that is served here"}}

// manage answers a request about a session.
func (s *sessions) manage(x *exchange) error {
	if err := x.readBody(); err != nil {
		return err
	}
	if x.account.Route == pathSessionCreate {
		return s.create(x)
	}
	var claim envelope.Claim
	if err := claim.Open(x.body.Bytes()); err != nil {
		return err
	}
	now := time.Now()
	if x.account.Route == pathSessionEnd {
		session, err := s.all.End(claim.ID, &claim.Ticket, now)
		if err != nil {
			return err
		}
		awaitRest(x, session)
		return reply(x, 200, append(quoted([]byte(`{"ended":true,"removed_session":`), claim.ID), '}'))
	}
	session, expires, err := s.all.Find(claim.ID, &claim.Ticket, now)
	switch {
	case x.account.Route == pathSessionHealth:
		return reply(x, 200, []byte(`{"ok":`+strconv.FormatBool(err == nil)+`}`))
	case err != nil:
		return err
	}
	return reply(x, 200, describeSession(claim.ID, session, expires))
}

// create opens a session. Its ticket passes the same checks as any other,
// but does not wait for its turn: a session takes no slot.
func (s *sessions) create(x *exchange) error {
	var c envelope.Creation
	if err := x.pass.OpenCreation(&c, x.body.Bytes()); err != nil {
		return err
	}
	called := s.closing(&x.h.routes, c.OnCloseRoute)
	if called == nil && c.OnCloseRoute != "" {
		return errRouteToClose
	}
	err := x.pass.Judge(&c.Ticket)
	punish(x.conn, err)
	if err != nil {
		return err
	}
	x.pass.Accept()
	terms := gate.Terms{
		Lifetime: c.Lifetime, AuthData: bytes.Clone(c.AuthData), OnCloseRoute: c.OnCloseRoute, OnClosePayload: bytes.Clone(c.OnClosePayload),
	}
	if called != nil {
		body, err := x.pass.PriceClosing(&c, called.API(http.MethodPost, []byte(c.OnCloseRoute)))
		if err != nil {
			return err
		}
		terms.ClosingBody = bytes.Clone(body)
	}
	if cause := x.why(); cause != nil {
		return cause // nobody would use it
	}
	// Reports count the session, from now to its end, instead of this request.
	a := &terms.Account
	*a = x.account
	a.Span = nil
	a.Ticket.Admitted = true // so that the autoscaler is told when it began
	a.Times.Sent = time.Now()
	a.Outcome, a.Status = account.OK, 201
	session, id, err := x.pass.Create(terms, &c.Ticket)
	if errors.Is(err, gate.ErrSessionsClosed) {
		return errDraining
	}
	if err != nil {
		return err
	}
	x.account.Report = nil
	body := append(quoted([]byte(`{"session_id":`), []byte(id)), `,"expiration":`...)
	body = append(appendEpoch(body, session.Created.Add(session.Lifetime)), '}')
	if reply(x, 201, body) != nil {
		session.Close() // its client does not know its id
	}
	return nil
}

// closing finds the route to call at a session's end: one of the model server's
// that needs a ticket. It returns nil if there is none.
func (s *sessions) closing(routes *routes, path string) *route.Entry {
	for _, c := range []byte(path) {
		if c <= ' ' || c >= 0x7f || c == '?' || c == '#' {
			return nil // not a plain path
		}
	}
	r := routes.Find(http.MethodPost, []byte(path))
	if r == nil || r.Open || s.manages(r) {
		return nil
	}
	return r
}

// awaitRest waits a short while for the closing call, so that it is usually done when
// the client is told that the session has ended.
func awaitRest(x *exchange, session *gate.Session) {
	patience := time.NewTimer(endPatience)
	defer patience.Stop()
	select {
	case <-session.Rested():
	case <-patience.C:
	case <-x.Done():
	}
}

// reply sends an answer that is Usher's own but not a refusal. It returns the error of
// writing it.
func reply(x *exchange, status int, body []byte) error {
	a := &x.account
	a.Outcome, a.Status, a.BytesOut = account.OK, status, int64(len(body))
	x.settle()
	return x.conn.Answer(&front.Answer{
		Status: status, Type: "application/json", Fields: []byte("Cache-Control: no-store\r\n"), Body: body,
	}, x.own(new(timingRoom)))
}

// describeSession returns the answer to /session/get, with what the client gave byte
// for byte.
func describeSession(id []byte, s *gate.Session, expires time.Time) []byte {
	b := quoted([]byte(`{"session_id":`), id)
	b = append(append(b, `,"auth_data":`...), s.AuthData...)
	b = strconv.AppendFloat(append(b, `,"lifetime":`...), s.Lifetime.Seconds(), 'f', -1, 64)
	b = appendEpoch(append(b, `,"expiration":`...), expires)
	b = appendEpoch(append(b, `,"created_at":`...), s.Created)
	b = append(b, `,"on_close_route":`...)
	if s.OnCloseRoute != "" {
		b = quoted(b, []byte(s.OnCloseRoute))
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"on_close_payload":`...)
	if s.OnClosePayload != nil {
		b = append(b, s.OnClosePayload...)
	} else {
		b = append(b, "null"...)
	}
	return append(b, '}')
}

// quoted appends a text as a JSON string.
func quoted(dst, text []byte) []byte {
	literal, err := json.Marshal(string(text))
	if err != nil { // cannot happen
		literal = []byte(`""`)
	}
	return append(dst, literal...)
}

// appendEpoch appends a time in seconds since 1970, to the microsecond.
func appendEpoch(dst []byte, t time.Time) []byte {
	return strconv.AppendFloat(dst, float64(t.UnixMicro())/1e6, 'f', -1, 64)
}
