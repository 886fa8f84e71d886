package sidecar

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/config"
)

// flushGrace is how long connections of finished requests may take to send their last
// bytes and close.
const flushGrace = 2 * time.Second

// backlogGrace is how long the listener may stay open until all clients that are connected
// have been accepted.
const backlogGrace = 250 * time.Millisecond

// silentGrace is how long silent connections stay open after the last answer: long
// enough for requests that clients sent before they could know of the drain to
// arrive.
const silentGrace = 250 * time.Millisecond

// A drain takes the sidecar out of service in steps. The sidecar stops being ready at
// once, but still serves requests during the delay. After that, new requests on open
// connections are refused while those in flight finish, and what is left at the end is
// cut. It happens once; later callers join the one under way.
//
// From the start of the drain every answer closes its connection (RFC 9112 section
// 9.6). No other connection is closed before the last answer is sent, since a
// client may be sending its next request on any of them.
type drain struct {
	cfg      *config.Config
	log      *zap.Logger
	calls    *calls
	doors    *listeners // that are closed
	sessions *sessions  // nil: there are none
	leave    func()     // called when it begins
	once     sync.Once
	done     chan struct{} // closed when the drain is over
	err      error         // ErrCut when requests were cut; valid after done

	phase     atomic.Int32 // serving, delaying or refusing
	aborted   chan struct{}
	abortOnce sync.Once
}

// The phases of a drain, in their order.
const (
	serving  = iota
	delaying // not ready any more
	refusing // of new requests
)

func newDrain(cfg *config.Config, log *zap.Logger, calls *calls, doors *listeners) *drain {
	return &drain{cfg: cfg, log: log, calls: calls, doors: doors, done: make(chan struct{}), aborted: make(chan struct{})}
}

// begun reports whether the drain has begun, so that the sidecar is not ready.
func (d *drain) begun() bool { return d.phase.Load() >= delaying }

// refusing reports whether the delay is over, so that requests are refused.
func (d *drain) refusing() bool { return d.phase.Load() >= refusing }

// abort ends the delay and the wait of a drain that has begun or will begin.
func (d *drain) abort() {
	d.abortOnce.Do(func() { close(d.aborted) })
}

// run drains, or waits for the drain under way, and returns its result.
func (d *drain) run() error {
	d.start()
	<-d.done
	return d.err
}

// join starts the drain or joins the one under way, and waits until it is over or ctx
// ends; in the latter case it returns ctx's error.
func (d *drain) join(ctx context.Context) (cut bool, err error) {
	d.start()
	select {
	case <-d.done:
		return d.err != nil, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// start begins the drain in the background. Its goroutine ends after the delay, the
// time-out, the graces and the closing calls of sessions at the latest.
func (d *drain) start() {
	d.once.Do(func() {
		d.phase.Store(delaying)
		d.leave()
		d.log.Info("draining", zap.Duration("delay", d.cfg.DrainDelay), zap.Duration("timeout", d.cfg.DrainTimeout))
		go func() {
			defer close(d.done)
			d.sequence()
		}()
	})
}

func (d *drain) sequence() {
	d.wait(d.cfg.DrainDelay, nil)
	d.phase.Store(refusing)
	_ = d.doors.public.Finish(backlogGrace)
	d.sessions.drain()
	d.wait(d.cfg.DrainTimeout, d.calls.idle())
	d.calls.cut(errCut)
	d.waitSilent()

	// Shutdown closes idle connections, and makes the others close after their
	// answer.
	ctx, cancel := context.WithCancel(context.Background())
	shut := make(chan struct{})
	go func() {
		defer close(shut)
		_ = d.doors.front.Shutdown(ctx)
	}()
	grace := time.NewTimer(flushGrace)
	defer grace.Stop()
	select {
	case <-shut:
	case <-grace.C:
	}
	cancel()
	d.doors.public.CloseConns()
	<-shut
	<-d.calls.idle()
	d.sessions.close(d.wait)
	if cut := d.calls.broken(); cut > 0 {
		d.err = ErrCut
		d.log.Warn("requests were cut at the end of the drain", zap.Int("cut", cut))
	}
	d.log.Info("drained", zap.Bool("cut", d.err != nil))
}

// waitSilent waits until no connection is open, for silentGrace at most.
func (d *drain) waitSilent() {
	const pause = 5 * time.Millisecond
	for left := silentGrace; left > 0 && d.doors.public.Stats().Open > 0; left -= pause {
		d.wait(pause, nil)
	}
}

// wait waits for t, until over, or until the drain is aborted.
func (d *drain) wait(t time.Duration, over <-chan struct{}) {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-over:
	case <-d.aborted:
	}
}
