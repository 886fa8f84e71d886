package sidecar

import (
	"net/http"
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
	if api, ok := h.routes[string(head.Path)]; ok {
		x.api, a.Route = api, string(head.Path)
	} else {
		x.api = dialect.Of(string(head.Path))
	}
	if h.tracer != nil {
		x.beginTrace()
	}
	h.calls.add(&x.call)
	c.Watch(&x.call)
	return x
}

// checkHead makes the checks that need no body: 404, 405, 503 twice, 415, 413.
func (h *handler) checkHead(head *front.Head) error {
	switch _, ok := h.routes[string(head.Path)]; {
	case !ok:
		return errRouteUnknown
	case !head.Is(http.MethodPost):
		return errMethod
	case h.drain.refusing():
		return errDraining
	case h.reports.loading():
		return errLoading
	case head.Encoded:
		return errEncoding
	case head.Length() > int64(h.cfg.MaxBodyBytes):
		return front.ErrBodyTooLarge
	}
	return nil
}
