package sidecar

import (
	"net/http"
	"time"

	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/sidecar/account"
	"github.com/usher-sidecar/usher/sidecar/front"
)

// begin opens the account of a request.
func (s *Sidecar) begin(c *front.Conn) *exchange {
	x := &exchange{sidecar: s, conn: c}
	a, head := &x.account, &c.Head
	a.Times.Start = time.Now()
	a.ID, a.TraceID, a.Client = head.ID(), head.TraceID(), c.Client()
	a.Ticket.Reqnum = -1
	a.Route = account.RouteOther
	x.pass.Begin(s.gate, a)
	if api, ok := s.routes[string(head.Path)]; ok {
		x.api, a.Route = api, string(head.Path)
	} else {
		x.api = dialect.Of(string(head.Path))
	}
	if s.tracer != nil {
		x.beginTrace()
	}
	s.calls.add(&x.call)
	c.Watch(&x.call)
	return x
}

// checkHead makes the checks that need no body: 404, 405, 503 twice, 415, 413.
func (s *Sidecar) checkHead(h *front.Head) error {
	switch _, ok := s.routes[string(h.Path)]; {
	case !ok:
		return errRouteUnknown
	case !h.Is(http.MethodPost):
		return errMethod
	case s.drain.refusing():
		return errDraining
	case s.reports.loading():
		return errLoading
	case h.Encoded:
		return errEncoding
	case h.Length() > int64(s.cfg.MaxBodyBytes):
		return front.ErrBodyTooLarge
	}
	return nil
}

// aside gives the small answers that the public listener has besides the routes.
func (s *Sidecar) aside(path string) (front.Answer, bool) {
	const text = "text/plain; charset=utf-8"
	switch {
	case path == "/ping":
		return front.Answer{Status: http.StatusOK, Type: text, Body: []byte("pong")}, true
	case path != "/health":
		return front.Answer{}, false
	case s.readiness().OK():
		return front.Answer{Status: http.StatusOK, Type: text, Body: []byte("ok")}, true
	}
	return front.Answer{Status: http.StatusServiceUnavailable, Type: text, Body: []byte("unavailable")}, true
}
