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
	// cutPatience is how long the requests of an ended session may take to end
	// before they are cut, and how long the closing call waits for them after that.
	cutPatience = 50 * time.Millisecond
	// noticePause is the time a model server gets to notice that they are gone.
	noticePause = 50 * time.Millisecond
	// closingTimeout bounds the closing call. closingsAtOnce bounds how many there
	// are at a time: a drain ends all sessions together.
	closingTimeout = 10 * time.Second
	closingsAtOnce = 16
	// maxClosingAnswer is how much of its answer is read and discarded, in bytes.
	maxClosingAnswer = 1 << 20
)

// sessions holds the open sessions. It is nil on a worker without sessions.
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

// signedRoutes returns the routes that need a ticket, including Usher's own.
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

// core returns what the gate looks sessions up in; nil if there are none.
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
	a := &session.Account
	if a.Report != nil {
		a.Times.End = time.Now()
		a.Report.Ended(a)
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

// close ends the remaining sessions and waits, for at most wait, until each has had
// its closing call. Calls still under way then are aborted.
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

// describe returns what the status pages show; nil if there are no sessions.
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

// closings are the calls of on_close_route at the end of sessions.
type closings struct {
	log      *zap.Logger
	upstream func() *upstream.Client
	places   chan struct{} // for the calls at once

	life    context.Context // of the calls
	abandon context.CancelFunc

	called [2]atomic.Uint64 // failed, answered
}

// close makes the closing call of a session, if it has one. If requests of it were
// told to end, it first waits until they have.
func (c *closings) close(session *gate.Session, cut bool) {
	if cut {
		c.clear(session)
	}
	if session.OnCloseRoute == "" {
		return
	}
	err := c.call(session)
	if err == nil {
		c.called[1].Add(1)
		return
	}
	c.called[0].Add(1)
	c.log.Warn("a session's on_close_route was not called, or failed", zap.String("request_id", session.Account.ID),
		zap.String("route", session.OnCloseRoute), zap.Error(err))
}

// clear waits until no request of an ended session is left, and cuts those that
// stay too long.
func (c *closings) clear(session *gate.Session) {
	if !c.pause(cutPatience, session.Idle()) {
		session.Force()
		c.pause(cutPatience, session.Idle())
	}
	if session.OnCloseRoute != "" {
		c.pause(noticePause, nil)
	}
}

// pause waits for t, until over, or until the calls are abandoned. It reports
// whether over came.
func (c *closings) pause(t time.Duration, over <-chan struct{}) bool {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-over:
		return true
	case <-timer.C:
	case <-c.life.Done():
	}
	return false
}

// errAbandoned is the fault of closing calls that the end of the drain did not wait
// for.
var errAbandoned = errors.New("the worker left before")

// call makes the session's closing call, once. Its route was checked when the
// session was created.
func (c *closings) call(session *gate.Session) error {
	select {
	case c.places <- struct{}{}:
		defer func() { <-c.places }()
	case <-c.life.Done():
		return errAbandoned
	}
	ctx, cancel := context.WithTimeout(c.life, closingTimeout)
	defer cancel()
	line, err := c.upstream().Acquire(ctx)
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
