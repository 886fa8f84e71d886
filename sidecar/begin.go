package sidecar

import (
	"time"

	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/sidecar/account"
	"github.com/usher-sidecar/usher/sidecar/front"
)

// begin opens the account of a request.
func (h *handler) begin(c *front.Conn) *exchange {
	x := &exchange{h: h, conn: c}
	a, head := &x.account, &c.Head
	a.Times.Start = time.Now()
	a.ID, a.TraceID, a.Client = head.ID(), head.TraceID(), c.Client()
	a.Ticket.Reqnum = -1
	a.Route = account.RouteOther
	x.pass.Begin(h.gate, a)
	x.pass.Occupant = x
	if x.route = h.routes.Find(string(head.Method), head.Path); x.route != nil {
		x.api, a.Route = x.route.API(string(head.Method), head.Path), x.route.Label
		x.manages = h.sessions.manages(x.route)
	} else {
		x.api = dialect.Of(string(head.Path))
		if near := h.routes.Near(head.Path); near != nil {
			a.Route = near.Label
		}
	}
	if !x.manages { // such a request has its ticket in the body, as its session's
		x.ticket = findHeadTicket(head)
	}
	if h.tracer != nil {
		x.beginTrace()
	}
	h.calls.add(&x.call)
	c.Watch(&x.call)
	return x
}

// bodyLimit returns how large the body may be, in bytes.
func (x *exchange) bodyLimit() int {
	if x.manages {
		return min(x.h.cfg.MaxBodyBytes, maxSessionBody)
	}
	return x.h.cfg.MaxBodyBytes
}

// checkHead makes the checks that need no body: 404, 405, 503 twice, 415, 413.
func (x *exchange) checkHead() error {
	h, head := x.h, &x.conn.Head
	switch {
	case x.route == nil && h.routes.Near(head.Path) == nil:
		return errRouteUnknown
	case x.route == nil:
		return errMethod
	case h.drain.refusing():
		return errDraining
	case h.reports.loading() && !x.route.Open:
		return errLoading
	case x.route.Open && head.Length() != 0:
		return front.ErrBodyTooLarge
	case head.Encoded && x.needsBody():
		return errEncoding
	case head.Length() > int64(x.bodyLimit()):
		return front.ErrBodyTooLarge
	}
	return nil
}
