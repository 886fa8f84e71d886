package sidecar

import (
	"net/http"

	"github.com/usher-sidecar/usher/sidecar/admin"
	"github.com/usher-sidecar/usher/sidecar/front"
)

// readiness says whether requests may be sent here.
func (s *Sidecar) readiness() admin.Readiness {
	var r admin.Readiness
	if !s.keyed() {
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

// publicHealth answers /ping and /health, which the public listener serves besides the
// routes.
func publicHealth(ready func() admin.Readiness) func(path string) (front.Answer, bool) {
	const text = "text/plain; charset=utf-8"
	return func(path string) (front.Answer, bool) {
		switch {
		case path == "/ping":
			return front.Answer{Status: http.StatusOK, Type: text, Body: []byte("pong")}, true
		case path != "/health":
			return front.Answer{}, false
		case ready().OK():
			return front.Answer{Status: http.StatusOK, Type: text, Body: []byte("ok")}, true
		}
		return front.Answer{Status: http.StatusServiceUnavailable, Type: text, Body: []byte("unavailable")}, true
	}
}
