package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io"
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

const (
	// cutPatience is how long the requests of a session that has ended may take to
	// end, before they are ended by force, and then again, until what is to be called
	// at its end waits for them no longer.
	cutPatience = 50 * time.Millisecond
	// noticePause is what a model server is given to notice that they have gone.
	noticePause = 50 * time.Millisecond
	// closingTimeout bounds that call, closingsAtOnce how many of them there are: a
	// drain ends all sessions together.
	closingTimeout = 10 * time.Second
	closingsAtOnce = 16
	// maxClosingAnswer is how much of its answer is read, to be thrown away.
	maxClosingAnswer = 1 << 20
)

// sessions are the open ones, and what is done when they end. A nil one is of a
// worker that has none.
type sessions struct {
	all      *gate.Sessions
	log      *zap.Logger
	upstream func() *upstream.Client
	places   chan struct{} // for the calls at once

	life    context.Context // of the calls
	abandon context.CancelFunc

	ended  [gate.Causes]atomic.Uint64
	called [2]atomic.Uint64 // failed, answered
}

func newSessions(cfg *config.Config, log *zap.Logger, client func() *upstream.Client) *sessions {
	if cfg.MaxSessions == 0 {
		return nil
	}
	s := &sessions{log: log, upstream: client, places: make(chan struct{}, closingsAtOnce)}
	s.life, s.abandon = context.WithCancel(context.Background())
	s.all = gate.NewSessions(cfg.MaxSessions, s.bury)
	return s
}

// signedRoutes are those that want a ticket, Usher's own among them.
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

// core is what the gate looks sessions up in; nil where there are none.
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

// bury is told of each session that has ended. The goroutine that it starts is
// waited for by close.
func (s *sessions) bury(session *gate.Session, cause gate.Cause, cut int) {
	s.ended[cause].Add(1)
	a := &session.Account
	if a.Report != nil {
		a.Times.End = time.Now()
		a.Report.Ended(a)
	}
	go func() {
		defer session.Rest()
		if cut > 0 {
			s.clear(session)
		}
		if session.OnCloseRoute == "" {
			return
		}
		err := s.callBack(session)
		if err == nil {
			s.called[1].Add(1)
			return
		}
		s.called[0].Add(1)
		s.log.Warn("a session's on_close_route was not called, or failed", zap.String("request_id", a.ID),
			zap.String("route", session.OnCloseRoute), zap.Error(err))
	}()
}

// clear sees to it that the requests of a session that has ended are out of it.
func (s *sessions) clear(session *gate.Session) {
	if !s.pause(cutPatience, session.Idle()) {
		session.Force()
		s.pause(cutPatience, session.Idle())
	}
	if session.OnCloseRoute != "" {
		s.pause(noticePause, nil)
	}
}

// pause lasts for t, or until over, which it reports, or until the calls are abandoned.
func (s *sessions) pause(t time.Duration, over <-chan struct{}) bool {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-over:
		return true
	case <-timer.C:
	case <-s.life.Done():
	}
	return false
}

// errAbandoned is what became of calls that the drain's end did not wait for.
var errAbandoned = errors.New("the worker left before")

// callBack calls what the session wanted called at its end: once, and a route of the
// model server's, which its creator's request was checked against.
func (s *sessions) callBack(session *gate.Session) error {
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	case <-s.life.Done():
		return errAbandoned
	}
	ctx, cancel := context.WithTimeout(s.life, closingTimeout)
	defer cancel()
	line, err := s.upstream().Acquire(ctx)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, line.Cancel)()
	resp, err := line.RoundTrip(&upstream.Request{
		Header: []byte("Content-Type: application/json\r\n"), Path: []byte(session.OnCloseRoute),
		RequestID: session.Account.ID, Body: session.ClosingBody,
	})
	if err != nil {
		return err
	}
	defer resp.Close()
	if code := resp.StatusCode(); code >= 400 {
		return fmt.Errorf("it answered %d", code)
	}
	if _, err = io.CopyN(io.Discard, resp, maxClosingAnswer); errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// drain has no other session opened, and ends each as soon as no request is in it.
func (s *sessions) drain() {
	if s != nil {
		s.all.Drain()
	}
}

// close ends those that are left and waits until each has had its call, which wait
// bounds; what is under way then is broken off.
func (s *sessions) close(wait func(time.Duration, <-chan struct{})) {
	if s == nil {
		return
	}
	s.all.Close()
	wait(2*cutPatience+noticePause+closingTimeout, s.all.Quiet())
	s.abandon()
	<-s.all.Quiet()
}

// attach has the metrics show the sessions.
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
		return map[string]uint64{account.OK.String(): s.called[1].Load(), "failed": s.called[0].Load()}
	})
}

// shownSessions is how many the status pages show.
const shownSessions = 20

// describe is what the status pages show; nil where there are no sessions.
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
