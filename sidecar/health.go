package sidecar

import (
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/sidecar/admin"
	"github.com/usher-sidecar/usher/sidecar/front"
	"github.com/usher-sidecar/usher/sidecar/upstream"
)

// readiness says whether requests may be sent here.
func (s *Sidecar) readiness() admin.Readiness {
	var r admin.Readiness
	if len(s.keys.Accepted(time.Now())) == 0 {
		r.Key = "no public key yet"
	}
	if !s.model.prober.Healthy() {
		r.Upstream = s.model.prober.Status()
	}
	r.Loaded = s.reports.missing(r.OK())
	if s.drain.begun() {
		r.Draining = "draining"
	}
	return r
}

// aside answers the small requests that the public listener serves besides the
// routes.
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

func (s *Sidecar) reportHealth(healthy bool, err error) {
	if healthy {
		s.log.Info("model server is healthy")
		return
	}
	s.log.Warn("model server is not healthy", zap.Error(err))
}

// suspect has the model server probed at once if err says that it was unreachable
// or broken.
func (h *handler) suspect(err error) {
	if errors.Is(err, upstream.ErrUnreachable) || errors.Is(err, upstream.ErrBroken) {
		h.model.prober.Suspect()
	}
}
