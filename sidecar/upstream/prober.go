package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// fastProbe is the interval, if the configured one is longer, for a server that is
	// unhealthy or suspected, so that readiness changes quickly.
	fastProbe = time.Second
	// maxProbe is the longest default of ProberOptions.Timeout.
	maxProbe = 5 * time.Second
	// maxProbeBody is how much of an answer is read, so that the connection ends
	// gracefully.
	maxProbeBody = 4 << 10
)

// errNotProbed is why a server is not healthy before its first probe.
var errNotProbed = errors.New("not probed yet")

// ProberOptions shape a Prober.
type ProberOptions struct {
	Network, Address, Host string // as in Options
	Authorization          string // as in Options: a server that requires it may require it here too

	Path     string        // of the health check
	Interval time.Duration // between probes of a healthy, unsuspected server; others are probed at least every second
	Timeout  time.Duration // of one probe; 0: the interval, but at least 1 s and at most 5 s
	Failures int           // how many in a row make a healthy server unhealthy; 1 or more

	// Flowing reports whether bytes of responses have arrived lately. If so, a probe that
	// times out does not count as a failure, because a busy server is not dead. nil means
	// never.
	Flowing func() bool
	// Probed is called by Run after each probe, with the server's health. It must
	// not block. It may be nil.
	Probed func(healthy bool)
	// Report is called by Run with the first verdict and each change; err is the error of
	// the last probe, if it failed. It must not block. It may be nil.
	Report func(healthy bool, err error)
}

// A Prober checks the model server's health. An answer below 400 is a success, and so is
// 404: the server has no such path, but is alive. Redirects are not followed. The server
// counts as unhealthy until the first success and after Failures failures in a row, as
// healthy after one success. A failed probe or a call of Suspect makes a healthy server
// suspected: the next probe comes at once and further ones every second, until Failures
// probes in a row succeeded. Make it with NewProber; its methods are safe for concurrent
// use.
type Prober struct {
	o       ProberOptions
	client  http.Client
	suspect chan struct{} // buffers one: Suspect was called
	hasten  chan struct{} // buffers one: Hasten was called

	mu       sync.Mutex
	healthy  bool
	reported bool // the first verdict was reported
	failures int  // in a row
	doubts   int  // how many more successes in a row end the suspicion
	last     error
}

// NewProber checks the options. It does not probe yet.
func NewProber(o ProberOptions) (*Prober, error) {
	if o.Interval <= 0 || o.Timeout < 0 || o.Failures < 1 {
		return nil, fmt.Errorf("upstream: probing every %s for %s, unhealthy after %d", o.Interval, o.Timeout, o.Failures)
	}
	if o.Timeout == 0 {
		o.Timeout = min(maxProbe, max(o.Interval, fastProbe))
	}
	if _, err := http.NewRequest(http.MethodGet, "http://"+o.Host+o.Path, nil); err != nil {
		return nil, fmt.Errorf("upstream: cannot probe %q at %q", o.Path, o.Host)
	}
	dialer := net.Dialer{Timeout: o.Timeout} // the transport does not end a connect when its request ends
	p := &Prober{o: o, last: errNotProbed, suspect: make(chan struct{}, 1), hasten: make(chan struct{}, 1)}
	p.client = http.Client{
		Timeout: o.Timeout,
		Transport: &http.Transport{
			DisableKeepAlives:  true,
			DisableCompression: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, o.Network, o.Address)
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return p, nil
}

// Run probes until ctx ends, the first time at once, and returns ctx's error.
func (p *Prober) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var hastened time.Time // when Suspect last had, or will have, a probe sent early
	next := time.Now()
	arm := func(pause time.Duration) {
		next = time.Now().Add(pause)
		timer.Reset(pause)
	}
	for {
		select {
		case <-timer.C:
			err := p.probe(ctx)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			arm(p.note(err))
			if p.o.Probed != nil {
				p.o.Probed(p.Healthy())
			}
		case <-p.suspect:
			// At most one a second, however many requests break.
			pause := max(fastProbe-time.Since(hastened), 0)
			if p.doubt() && time.Until(next) > pause {
				hastened = time.Now().Add(pause)
				arm(pause)
			}
		case <-p.hasten:
			if time.Until(next) > fastProbe {
				arm(fastProbe)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Hasten makes the next probe come within a second. It does not block.
func (p *Prober) Hasten() {
	select {
	case p.hasten <- struct{}{}:
	default:
	}
}

// Suspect says that a request found the server unreachable or broken. It does not
// block, and many calls at once cost next to nothing.
func (p *Prober) Suspect() {
	select {
	case p.suspect <- struct{}{}:
	default:
	}
}

// doubt makes the server suspected. It returns false if the server is unhealthy and thus
// probed every second anyway.
func (p *Prober) doubt() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doubts = p.o.Failures
	return p.healthy
}

// probe sends one probe.
func (p *Prober) probe(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.o.Host+p.o.Path, nil)
	if err != nil {
		return err
	}
	if p.o.Authorization != "" {
		req.Header.Set("Authorization", p.o.Authorization)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	_, _ = io.CopyN(io.Discard, resp.Body, maxProbeBody)
	_ = resp.Body.Close()
	if resp.StatusCode < http.StatusBadRequest || resp.StatusCode == http.StatusNotFound {
		return nil
	}
	return fmt.Errorf("%s answered %d", p.o.Path, resp.StatusCode)
}

// note counts a probe, reports the verdict if it is new, and returns the time to the next
// probe.
func (p *Prober) note(err error) (pause time.Duration) {
	var network net.Error
	slow := errors.As(err, &network) && network.Timeout()
	forgiven := slow && p.o.Flowing != nil && p.o.Flowing()
	p.mu.Lock()
	before, first := p.healthy, false
	switch {
	case forgiven:
	case err == nil:
		p.healthy, p.failures = true, 0
		p.doubts = max(p.doubts-1, 0)
	default:
		p.failures++
		first = before && p.failures == 1
		p.healthy = before && p.failures < p.o.Failures
		p.doubts = p.o.Failures
	}
	if !forgiven {
		p.last = err
	}
	report := p.healthy != before || !p.reported && p.failures >= p.o.Failures
	p.reported = p.reported || report
	healthy, suspected := p.healthy, p.doubts > 0
	p.mu.Unlock()
	if report && p.o.Report != nil {
		p.o.Report(healthy, err)
	}
	switch {
	case first:
		return 0
	case !healthy || suspected:
		return min(p.o.Interval, fastProbe)
	}
	return p.o.Interval
}

// Healthy reports whether the server counts as healthy.
func (p *Prober) Healthy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.healthy
}

// Status says why the server is not healthy; "" while it is healthy.
func (p *Prober) Status() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.healthy {
		return ""
	}
	return p.last.Error()
}
