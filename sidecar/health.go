package sidecar

import (
	"time"
)

// A readiness is the answer to "may requests be sent here", with its reasons;
// an empty reason is a check that holds.
type readiness struct {
	Key      string
	Upstream string
	Draining string
}

func (r readiness) ready() bool { return r == readiness{} }

func (s *Sidecar) readiness() readiness {
	var r readiness
	if _, n := s.keys.Accepted(time.Now()); n == 0 {
		r.Key = "no public key yet"
	}
	if !s.prober.Healthy() {
		r.Upstream = s.prober.Status()
	}
	if s.drain.begun() {
		r.Draining = "draining"
	}
	return r
}
