package sidecar

import (
	"errors"
	"net/http"

	"github.com/usher-sidecar/usher/config/route"
	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/envelope"
	"github.com/usher-sidecar/usher/sidecar/account"
	"github.com/usher-sidecar/usher/sidecar/front"
)

// A request is what a client asks for: what its head says, and its body.
type request struct {
	h       *handler
	conn    *front.Conn
	route   *route.Entry // nil: no route serves the request
	api     *dialect.API // of the path
	manages bool         // it is about a session (/session/…)
	ticket  headTicket
	body    upload
}

// An upload is the body of a request. If the ticket is in the head, the body may be
// left in the connection and passed on as it arrives.
type upload struct {
	front.Body
	size   int           // of what was read into Body, in bytes
	whole  bool          // it was read although the ticket is in the head
	stream *front.Stream // the body if it was left in the connection; nil: Body holds it
}

// find looks up the route, and the ticket in the head. It returns the route's label.
func (r *request) find() (label string) {
	head := &r.conn.Head
	method := string(head.Method)
	label = account.RouteOther
	if r.route = r.h.routes.Find(method, head.Path); r.route != nil {
		r.api, label = r.route.API(method, head.Path), r.route.Label
		r.manages = r.h.sessions.manages(r.route)
	} else {
		r.api = dialect.Of(string(head.Path))
		if near := r.h.routes.Near(head.Path); near != nil {
			label = near.Label
		}
	}
	if !r.manages { // a request about a session has its ticket in the body
		r.ticket = findHeadTicket(head)
	}
	return label
}

// open reports whether the request needs no ticket.
func (r *request) open() bool { return r.route != nil && r.route.Open }

// blames reports whether the head is too large because of its ticket.
func (r *request) blames(fault error) bool {
	if fault == nil || !r.ticket.found || len(r.ticket.token) <= envelope.MaxHeader || r.route == nil || r.route.Open {
		return false
	}
	var f *front.Fault
	return errors.As(fault, &f) && f.Status == http.StatusRequestHeaderFieldsTooLarge
}

// checkHead makes the checks that need no body: 404, 405, 503 twice, 415, 413.
func (r *request) checkHead() error {
	h, head := r.h, &r.conn.Head
	switch {
	case r.route == nil && h.routes.Near(head.Path) == nil:
		return errRouteUnknown
	case r.route == nil:
		return errMethod
	case h.drain.refusing():
		return errDraining
	case h.reports.loading() && !r.route.Open:
		return errLoading
	case r.route.Open && head.Length() != 0:
		return front.ErrBodyTooLarge
	case head.Encoded && r.needsBody():
		return errEncoding
	case head.Length() > int64(r.bodyLimit()):
		return front.ErrBodyTooLarge
	}
	return nil
}

// needsBody reports whether the body must be read before the request can pass.
func (r *request) needsBody() bool {
	switch {
	case r.route.Open:
		return false
	case r.ticket.found:
		_, needs := r.h.gate.WantsBody(r.api)
		return needs
	}
	return r.conn.Head.Is("POST")
}

// bodyLimit returns how large the body may be, in bytes.
func (r *request) bodyLimit() int {
	if r.manages {
		return min(r.h.bodies.most, maxSessionBody)
	}
	return r.h.bodies.most
}

// readBody reads the body whole.
func (r *request) readBody() error {
	err := r.body.Read(r.conn, r.bodyLimit(), r.h.bodies.Budget)
	r.body.size = len(r.body.Bytes())
	return err
}

// leftBody returns the body if it is left in the connection, whose Stream the first call
// makes; nil if it is not, or if there is none.
func (r *request) leftBody() *front.Stream {
	if !r.ticket.found || r.body.whole || r.conn.Head.Length() == 0 {
		return nil
	}
	if r.body.stream == nil {
		r.body.stream = r.conn.Stream(r.h.bodies.most, r.h.bodies.Budget)
	}
	return r.body.stream
}

// end frees the body and returns how many bytes of it arrived.
func (u *upload) end() (came int64) {
	came = int64(u.size)
	if u.stream != nil { // by now nobody reads it
		came = u.stream.Taken()
		u.stream.Release()
	}
	u.Release()
	return came
}
