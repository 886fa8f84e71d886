package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/sidecar/gate"
	"github.com/usher-sidecar/usher/sidecar/upstream"
)

const (
	// cutPatience is how long the requests of an ended session may take to end before
	// they are cut, and how much longer the closing call waits for them after that.
	cutPatience = 50 * time.Millisecond
	// noticePause gives the model server time to notice that they are gone.
	noticePause = 50 * time.Millisecond
	// closingTimeout bounds one closing call, and closingsAtOnce how many run at the
	// same time: a drain ends all sessions together.
	closingTimeout = 10 * time.Second
	closingsAtOnce = 16
	// maxClosingAnswer is how many bytes of the answer are read and discarded.
	maxClosingAnswer = 1 << 20
)

// closings are the calls of on_close_route at the end of sessions.
type closings struct {
	log      *zap.Logger
	upstream func() *upstream.Client
	places   chan struct{} // one for each call that runs

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
	c.log.Warn("call of a session's on_close_route failed", zap.String("request_id", session.Account.ID),
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

// errAbandoned is the error of closing calls that the drain did not wait for.
var errAbandoned = errors.New("the worker stopped before it could be called")

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
		return fmt.Errorf("model server answered %d", code)
	}
	if _, err = io.CopyN(io.Discard, resp, maxClosingAnswer); errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
