package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/usher-sidecar/usher/test/autoscaler"
)

// outageCodes are what a worker without its model server may answer. overloadCodes are
// what the other workers may answer meanwhile, since they get its load.
var (
	outageCodes   = []string{"upstream_unreachable", "upstream_broken", "upstream_timeout"}
	overloadCodes = []string{"queue_full", "queue_timeout"}
)

// theAutoscaler takes the place of a worker's address in outages of the autoscaler.
const theAutoscaler = "autoscaler"

// outages records when which worker's model server, or the autoscaler, was away.
type outages struct {
	mu    sync.Mutex
	list  []outage // the latest
	count int      // of all
}

type outage struct {
	url         string // of the worker, or theAutoscaler
	from, until time.Time
}

// begin and end bracket an outage. There is one at a time.
func (o *outages) begin(url string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.count++
	o.list = append(o.list, outage{url: url, from: time.Now()})
	// Only those that can no longer affect a request are forgotten.
	o.list = slices.DeleteFunc(o.list, func(x outage) bool {
		return !x.until.IsZero() && time.Since(x.until) > 2*requestPatience
	})
}

func (o *outages) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list[len(o.list)-1].until = time.Now()
}

// excuse reports whether an outage may be the reason for a wrong answer: it has a code
// that an outage causes, or broke off midway, and the call was in flight while the
// model server was away.
func (o *outages) excuse(url string, a answer) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, x := range o.list {
		if a.ended.Before(x.from) || !x.until.IsZero() && a.sent.After(x.until) {
			continue
		}
		if slices.Contains(overloadCodes, a.code) {
			return true
		}
		brokeOff := a.status == http.StatusOK && a.err != nil
		if x.url == url && (brokeOff || slices.Contains(outageCodes, a.code)) {
			return true
		}
	}
	return false
}

// excuseRoute reports whether an outage may be the reason why a call to the autoscaler,
// made at sent and just ended, has failed.
func (o *outages) excuseRoute(sent time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.ContainsFunc(o.list, func(x outage) bool {
		return x.url == theAutoscaler && (x.until.IsZero() || sent.Before(x.until))
	})
}

// away returns the worker whose model server is away, theAutoscaler, or "".
func (o *outages) away() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n := len(o.list); n > 0 && o.list[n-1].until.IsZero() {
		return o.list[n-1].url
	}
	return ""
}

// total returns how many outages there have been.
func (o *outages) total() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.count
}

// maxAway is the longest outage.
const maxAway = 3 * time.Second

// disturb causes outages at an interval until ctx ends, and completes the last one. The
// workers take turns, and after each the autoscaler has one.
func (w *world) disturb(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if ctx.Err() != nil { // if both are ready, select picks either
			return nil
		}
		away := min(every/3, maxAway)
		var err error
		if n%2 == 0 {
			err = w.outage(w.workers[n/2%len(w.workers)], away)
		} else {
			err = w.scalerOutage(away)
		}
		if err != nil {
			return fmt.Errorf("after an outage: %w", err)
		}
	}
}

// outage kills a worker's model server, brings it back, and rotates the key.
func (w *world) outage(k *worker, away time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), requestPatience/2)
	defer cancel()
	w.outages.begin(k.url)
	k.model.Kill()
	if err := pause(ctx, away); err != nil {
		return err
	}
	if err := k.model.Start(); err != nil {
		return err
	}
	if err := waitHealthy(ctx, k.url); err != nil {
		return err
	}
	w.outages.end()
	return w.rotate(ctx)
}

// scalerOutage stops the autoscaler for a while. Requests in flight continue, and it is
// told afterwards what it missed.
func (w *world) scalerOutage(away time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), requestPatience/2)
	defer cancel()
	w.outages.begin(theAutoscaler)
	defer w.outages.end()
	w.autoscaler.Stop()
	if err := pause(ctx, away); err != nil {
		return err
	}
	return w.autoscaler.Resume()
}

// minRotation is the least time between two rotations. Workers keep one previous key,
// and every ticket should have been used by then.
const minRotation = 5 * time.Second

// rotate changes the key as an autoscaler should: it publishes the new key first, and
// signs with it once every worker has it.
func (w *world) rotate(ctx context.Context) error {
	if time.Since(w.rotated) < minRotation {
		return nil
	}
	w.rotated = time.Now()
	key, err := autoscaler.NewRSAKey()
	if err != nil {
		return err
	}
	w.autoscaler.Publish(key)
	for _, k := range w.workers {
		for k.keys.Load() <= w.rotations.Load()+1 {
			if err := pause(ctx, 10*time.Millisecond); err != nil {
				return fmt.Errorf("a worker did not take the new key: %w", err)
			}
		}
	}
	// Counted first, so that no ticket seems older than it is.
	w.rotations.Add(1)
	return w.autoscaler.Rotate(key)
}
