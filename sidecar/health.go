package sidecar

import (
	"errors"
	"time"

	"github.com/usher-sidecar/usher/sidecar/upstream"
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

// suspect has the model server probed at once where err is that a request found
// it unreachable or broken.
func (s *Sidecar) suspect(err error) {
	if errors.Is(err, upstream.ErrUnreachable) || errors.Is(err, upstream.ErrBroken) {
		s.prober.Suspect()
	}
}
