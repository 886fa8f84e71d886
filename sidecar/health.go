package sidecar

import (
	"errors"
	"time"

	"github.com/usher-sidecar/usher/sidecar/admin"
	"github.com/usher-sidecar/usher/sidecar/upstream"
)

// readiness is the answer to "may requests be sent here".
func (s *Sidecar) readiness() admin.Readiness {
	var r admin.Readiness
	if len(s.keys.Accepted(time.Now())) == 0 {
		r.Key = "no public key yet"
	}
	if !s.prober.Healthy() {
		r.Upstream = s.prober.Status()
	}
	r.Loaded = s.reports.missing(r.OK())
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
