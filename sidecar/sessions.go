package sidecar

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/config"
	"github.com/usher-sidecar/usher/config/route"
	"github.com/usher-sidecar/usher/sidecar/account"
	"github.com/usher-sidecar/usher/sidecar/gate"
	"github.com/usher-sidecar/usher/sidecar/metrics"
	"github.com/usher-sidecar/usher/sidecar/status"
	"github.com/usher-sidecar/usher/sidecar/upstream"
)

// sessions holds the open sessions. It is nil if sessions are not enabled.
type sessions struct {
	all      *gate.Sessions
	ended    [gate.Causes]atomic.Uint64
	closings closings
}

func newSessions(cfg *config.Config, log *zap.Logger, client func() *upstream.Client) *sessions {
	if cfg.MaxSessions == 0 {
		return nil
	}
	s := &sessions{closings: closings{log: log, upstream: client, places: make(chan struct{}, closingsAtOnce)}}
	s.closings.life, s.closings.abandon = context.WithCancel(context.Background())
	s.all = gate.NewSessions(cfg.MaxSessions, s.bury)
	return s
}

// signedRoutes returns the routes that need a ticket, including those of sessions.
func signedRoutes(cfg *config.Config) []route.Route {
	if cfg.MaxSessions == 0 {
		return cfg.Routes
	}
	routes := slices.Clone(cfg.Routes)
	for _, path := range config.SessionPaths {
		routes = append(routes, route.Route{Method: http.MethodPost, Path: path})
	}
	return routes
}

// core returns the sessions for the gate to look up; nil if they are not enabled.
func (s *sessions) core() *gate.Sessions {
	if s == nil {
		return nil
	}
	return s.all
}

// run ends the sessions that expire, until ctx ends.
func (s *sessions) run(ctx context.Context) {
	if s != nil {
		s.all.Run(ctx)
	}
}

// bury is called for each session that has ended. Sessions.Quiet waits for the
// goroutine that it starts.
func (s *sessions) bury(session *gate.Session, cause gate.Cause, cut int) {
	s.ended[cause].Add(1)
	if a := session.Account; a.Report != nil {
		a.Times.End = time.Now()
		a.Report.Ended(&a)
	}
	go func() {
		defer session.Rest()
		s.closings.close(session, cut > 0)
	}()
}

// drain stops new sessions and ends each one as soon as it has no request.
func (s *sessions) drain() {
	if s != nil {
		s.all.Drain()
	}
}

// close ends the remaining sessions and waits until each has had its closing call, but
// no longer than such a call may take. Calls still under way after that are aborted.
func (s *sessions) close(wait func(time.Duration, <-chan struct{})) {
	if s == nil {
		return
	}
	s.all.Close()
	wait(2*cutPatience+noticePause+closingTimeout, s.all.Quiet())
	s.closings.abandon()
	<-s.all.Quiet()
}

// attach shows the sessions in the metrics.
func (s *sessions) attach(m *metrics.Metrics) {
	count := func() (c gate.Count) {
		if s != nil {
			c = s.all.Count()
		}
		return c
	}
	m.Gauge("usher_sessions", "Sessions that are open.", func() float64 { return float64(count().Open) })
	m.Total("usher_session_requests_total", "Requests that came in a session.", func() float64 { return float64(count().Requests) })
	m.Totals("usher_session_ends_total", "Sessions that have ended: closed by their client, expired, or drained with the worker.", "cause", func() map[string]uint64 {
		ends := make(map[string]uint64, gate.Causes)
		for c := range gate.Causes {
			ends[c.String()] = 0
			if s != nil {
				ends[c.String()] = s.ended[c].Load()
			}
		}
		return ends
	})
	m.Totals("usher_session_closings_total", "Calls of an on_close_route, at the end of a session.", "outcome", func() map[string]uint64 {
		if s == nil {
			return map[string]uint64{account.OK.String(): 0, "failed": 0}
		}
		return map[string]uint64{account.OK.String(): s.closings.called[1].Load(), "failed": s.closings.called[0].Load()}
	})
}

// shownSessions is how many the status pages show.
const shownSessions = 20

// describe returns what the status pages show; nil if sessions are not enabled.
func (s *sessions) describe(most int) func(time.Time) status.Sessions {
	if s == nil {
		return nil
	}
	return func(now time.Time) status.Sessions {
		count := s.all.Count()
		d := status.Sessions{Open: count.Open, Most: most, Requests: count.Requests}
		for _, v := range s.all.Views(now, shownSessions) {
			d.Oldest = append(d.Oldest, status.Session{Age: v.Age.Seconds(), Left: v.Left.Seconds(), Requests: v.Requests, Inside: v.Inside})
		}
		return d
	}
}

// errSessionEnded ends the requests of a session that has ended.
var errSessionEnded = fmt.Errorf("%w: it ended", gate.ErrSessionUnknown)

// An occupant is an exchange in the eyes of the session that its request belongs to.
type occupant exchange

// SessionEnded implements gate.Occupant. It does not block.
func (x *occupant) SessionEnded() { x.cancel(errSessionEnded) }

// SessionOverdue implements gate.Occupant. It abandons an answer that the client does
// not read, which would keep its slot. The call's lock makes sure that the connection
// still belongs to this request and not to the next one on it.
func (x *occupant) SessionOverdue() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.over {
		x.conn.Abandon()
	}
}
