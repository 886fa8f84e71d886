package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/usher-sidecar/usher/test/autoscaler"
)

// How long things may take before they count as wrong.
const (
	requestPatience = 2 * time.Minute  // for one request, including waits and further tickets
	hangupPatience  = 10 * time.Second // until the model server has stopped, which usually takes milliseconds
)

// A client asks the autoscaler for a ticket and calls the worker that it names, as the
// documented clients do, using every form and every route in turn; or it misbehaves.
type client struct {
	autoscaler *autoscaler.Autoscaler
	workers    []string // public addresses
	options    options
	window     int64 // USHER_REPLAY_WINDOW of the workers
	attacker   *autoscaler.Key
	outages    *outages
	hangups    *hangups
	rotations  *atomic.Int64 // how many times the key has been rotated
	http       http.Client
	tally      tally

	hangupPatience time.Duration
}

// A plan is everything about a request that is drawn at random. It is drawn in one
// place and in order, so that the same seed gives the same traffic.
type plan struct {
	number  int
	kind    *kind
	style   style
	delay   time.Duration // on the network
	variant int           // of the misbehaviour
	due     time.Time
}

// run sends requests at the given rate until ctx ends, then waits for the remaining
// answers. The schedule does not wait for answers: a slow worker gets the same load as
// a fast one.
func (c *client) run(ctx context.Context) {
	var underway sync.WaitGroup
	defer underway.Wait()
	random := rand.New(rand.NewPCG(c.options.seed, 2))
	start := time.Now()
	for n := 0; ; n++ {
		due := start.Add(time.Duration(float64(n) / c.options.rps * float64(time.Second)))
		if pause(ctx, time.Until(due)) != nil {
			return
		}
		p := c.draw(random, n)
		p.due = due
		underway.Go(func() { c.tally.add(c.play(p)) })
	}
}

func (c *client) draw(random *rand.Rand, n int) plan {
	p := plan{number: n, kind: good, style: styles[n%len(styles)]}
	which, lot := random.IntN(len(mischief)), random.Float64()
	p.variant = random.IntN(1 << 16)
	if c.options.delay.draw != nil {
		p.delay = c.options.delay.draw(random)
	}
	switch loss, bad, hangups := float64(c.options.loss), float64(c.options.bad), float64(c.options.hangups); {
	case lot < loss:
		p.kind = lost
	case lot < loss+bad:
		p.kind = mischief[which]
	case lot < loss+bad+hangups:
		p.kind = hungUpOn
	}
	return p
}

// errAgain is wrapped by failures that an outage excuses: the client asks for another
// ticket, as real clients do.
var errAgain = errors.New("another ticket is needed")

// An attempt is one attempt at a plan.
type attempt struct {
	*client
	plan
	ctx       context.Context
	era       int64 // value of rotations when the ticket was asked for
	firstByte time.Time
}

// play makes a whole request, with as many attempts as outages make necessary.
func (c *client) play(p plan) outcome {
	// Not the run's context: requests in flight at its end may finish.
	ctx, cancel := context.WithTimeout(context.Background(), requestPatience)
	defer cancel()
	o := outcome{kind: p.kind}
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		a := &attempt{client: c, plan: p, ctx: ctx}
		o.err = p.kind.play(a)
		if !errors.Is(o.err, errAgain) || pause(ctx, wait) != nil {
			o.firstByte, o.total = a.firstByte.Sub(p.due), time.Since(p.due)
			return o
		}
		o.again++
	}
}

// A ticket is the autoscaler's answer, decoded as far as necessary.
type ticket struct {
	raw    []byte // as it came
	URL    string
	Reqnum int64
}

// route asks the autoscaler for a ticket. If no worker is ready the error wraps
// errAgain.
func (a *attempt) route(cost int) (ticket, error) {
	a.era = a.rotations.Load()
	status, body, err := a.ask(apiKey, cost)
	if err != nil {
		return ticket{}, err
	}
	if status != http.StatusOK {
		return ticket{}, fmt.Errorf("route: %d: %.200s", status, body)
	}
	t := ticket{raw: body}
	if err := json.Unmarshal(body, &t); err != nil {
		return t, fmt.Errorf("route: %w", err)
	}
	if t.URL == "" {
		return t, fmt.Errorf("%w: no worker is ready: %s", errAgain, body)
	}
	return t, nil
}

func (a *attempt) ask(key string, cost int) (status int, body []byte, err error) {
	ask, err := json.Marshal(map[string]any{"endpoint": endpoint, "api_key": key, "cost": cost})
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(a.ctx, http.MethodPost, a.autoscaler.URL()+"/route/", bytes.NewReader(ask))
	if err != nil {
		return 0, nil, err
	}
	sent := time.Now()
	resp, err := a.http.Do(req)
	if err == nil {
		defer func() { _ = resp.Body.Close() }()
		status = resp.StatusCode
		body, err = io.ReadAll(resp.Body)
	}
	if err != nil && a.outages.excuseRoute(sent) {
		err = fmt.Errorf("%w: %w", errAgain, err)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("route: %w", err)
	}
	return status, bytes.TrimSpace(body), nil
}

// prompt returns a short prompt that differs from request to request.
func (a *attempt) prompt() string { return fmt.Sprintf("Tell me story number %d.", a.number) }

// send sends a request with a ticket to a worker, after the network's delay, and
// returns the answer.
func (a *attempt) send(url string, rawTicket []byte) answer {
	body, err := a.style.body(rawTicket, a.prompt(), a.options.tokens)
	if err != nil {
		return answer{style: a.style, err: err}
	}
	return a.sendBody(url, body)
}

func (a *attempt) sendBody(url string, body []byte) answer {
	if err := pause(a.ctx, a.delay); err != nil {
		return answer{style: a.style, err: err}
	}
	return post(a.ctx, &a.http, url, a.style, body, nil)
}

// whole is answer.whole, with an error that wraps errAgain if an outage at the worker
// excuses it.
func (a *attempt) whole(url string, got answer) error {
	err := a.unlessOld(got, got.whole())
	if err != nil && a.outages.excuse(url, got) {
		return fmt.Errorf("%w: %w", errAgain, err)
	}
	return err
}

// refused is answer.refused, with an error that wraps errAgain if the key has gone out
// of use.
func (a *attempt) refused(got answer, status int, code string) error {
	return a.unlessOld(got, got.refused(status, code))
}

// unlessOld makes err wrap errAgain if the ticket's key is no longer the current or the
// previous one: workers keep only these two.
func (a *attempt) unlessOld(got answer, err error) error {
	if err != nil && got.code == "bad_signature" && a.rotations.Load() > a.era+1 {
		return fmt.Errorf("%w: %w", errAgain, err)
	}
	return err
}
