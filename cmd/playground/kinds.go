package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/usher-sidecar/usher/test/autoscaler"
)

// A kind is one way to behave. play returns nil when the answer was the right
// one, an error that wraps errAgain when an outage came between.
type kind struct {
	name   string
	expect string // for the table
	play   func(*attempt) error
}

var (
	good = &kind{"good", "200", (*attempt).good}
	lost = &kind{"lost", "nothing: the ticket is never used", (*attempt).lost}

	hungUpOn = &kind{"hung up on", "the model server stops", (*attempt).hangUp}
)

// mischief is what -bad chooses from.
var mischief = []*kind{
	lost,
	{"late", "200: some leeway is allowed", (*attempt).late},
	{"replayed", "200, then 409 reqnum_replayed", (*attempt).replayed},
	{"sent twice at once", "200 for one, 409 reqnum_replayed for the other", (*attempt).twice},
	{"too old", "409 reqnum_stale", (*attempt).tooOld},
	{"tampered with", "401 bad_signature", (*attempt).tampered},
	{"forged", "401 bad_signature", (*attempt).forged},
	{"wrong worker", "403 url_mismatch", (*attempt).wrongWorker},
	{"wrong endpoint", "403 endpoint_mismatch", (*attempt).wrongEndpoint},
	{"cost understated", "403 cost_exceeded", (*attempt).understated},
	{"no ticket", "422 invalid_ticket", (*attempt).noTicket},
	{"garbled", "400 invalid_json", (*attempt).garbled},
	{"wrong API key", "401 from the autoscaler", (*attempt).wrongKey},
	hungUpOn,
}

func (a *attempt) good() error {
	t, err := a.route(a.options.tokens)
	if err != nil {
		return err
	}
	return a.served(t)
}

// served sends a ticket that is good.
func (a *attempt) served(t ticket) error {
	got := a.send(t.URL, t.raw)
	a.firstByte = got.firstByte
	return a.whole(t.URL, got)
}

func (a *attempt) lost() error {
	_, err := a.route(a.options.tokens)
	return err
}

// late keeps the ticket for a while, but not until so many others were routed
// that it is too old.
func (a *attempt) late() error {
	t, err := a.route(a.options.tokens)
	if err != nil {
		return err
	}
	before := time.Duration(float64(a.window) / 4 / a.options.rps * float64(time.Second))
	if err := pause(a.ctx, min(time.Second, before)); err != nil {
		return err
	}
	return a.served(t)
}

func (a *attempt) replayed() error {
	t, err := a.route(a.options.tokens)
	if err != nil {
		return err
	}
	if err := a.served(t); err != nil {
		return err
	}
	return a.refused(a.send(t.URL, t.raw), http.StatusConflict, "reqnum_replayed")
}

// twice sends two copies that race; exactly one may pass.
func (a *attempt) twice() error {
	t, err := a.route(a.options.tokens)
	if err != nil {
		return err
	}
	var first, second answer
	var both sync.WaitGroup
	both.Go(func() { first = a.send(t.URL, t.raw) })
	both.Go(func() { second = a.send(t.URL, t.raw) })
	both.Wait()
	const code = "reqnum_replayed"
	if first.refused(http.StatusConflict, code) == nil {
		first, second = second, first
	}
	if err := a.whole(t.URL, first); err != nil {
		return err
	}
	// A ticket stays good where the model server was out of reach, so that in an
	// outage the second copy may get that far as well.
	if err := a.refused(second, http.StatusConflict, code); err != nil {
		if a.outages.excuse(t.URL, second) {
			return fmt.Errorf("%w: %w", errAgain, err)
		}
		return err
	}
	return nil
}

// tooOld has a number from before the window signed, once the worker has seen a
// number under the same key.
func (a *attempt) tooOld() error {
	key := a.autoscaler.Key()
	t, err := a.route(a.options.tokens)
	if err != nil {
		return err
	}
	if a.autoscaler.Key() != key {
		return fmt.Errorf("%w: the key changed", errAgain)
	}
	if err := a.served(t); err != nil {
		return err
	}
	claims := a.claims(t)
	claims.Reqnum -= a.window + int64(a.variant%100)
	return a.refused(a.send(t.URL, []byte(key.Sign(claims).JSON())), http.StatusConflict, "reqnum_stale")
}

// claims are what a ticket says.
func (a *attempt) claims(t ticket) autoscaler.Claims {
	return autoscaler.Claims{
		Cost: autoscaler.Float(float64(a.options.tokens)), Endpoint: endpoint, Reqnum: t.Reqnum, URL: t.URL,
	}
}

// tampered changes a member that is signed, or the signature.
func (a *attempt) tampered() error {
	t, err := a.route(a.options.tokens)
	if err != nil {
		return err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(t.raw, &members); err != nil {
		return err
	}
	switch a.variant % 3 {
	case 0:
		members["cost"] = json.RawMessage(strconv.Itoa(100 * a.options.tokens))
	case 1: // beyond what will be reached, so that it cannot be a replay
		members["reqnum"] = json.RawMessage(strconv.FormatInt(t.Reqnum+1e9, 10))
	default:
		s := members["signature"]
		i := 1 + a.variant%(len(s)-6) // within the quotes, before the padding
		s[i] = map[bool]byte{true: 'B', false: 'A'}[s[i] == 'A']
	}
	raw, err := json.Marshal(members)
	if err != nil {
		return err
	}
	return a.refused(a.send(t.URL, raw), http.StatusUnauthorized, "bad_signature")
}

func (a *attempt) forged() error {
	t, err := a.route(a.options.tokens)
	if err != nil {
		return err
	}
	forged := a.attacker.Sign(a.claims(t)).JSON()
	return a.refused(a.send(t.URL, []byte(forged)), http.StatusUnauthorized, "bad_signature")
}

// wrongWorker takes the ticket to another worker; where there is but one, it
// takes one that is for another.
func (a *attempt) wrongWorker() error {
	t, err := a.route(a.options.tokens)
	if err != nil {
		return err
	}
	for i, url := range a.workers {
		if url != t.URL && (i+a.variant)%2 == 0 || len(a.workers) == 2 && url != t.URL {
			return a.refused(a.send(url, t.raw), http.StatusForbidden, "url_mismatch")
		}
	}
	claims := a.claims(t)
	claims.URL = "http://203.0.113.7:3000"
	return a.refused(a.send(t.URL, []byte(a.autoscaler.Sign(claims).JSON())), http.StatusForbidden, "url_mismatch")
}

func (a *attempt) wrongEndpoint() error {
	t, err := a.route(a.options.tokens)
	if err != nil {
		return err
	}
	claims := a.claims(t)
	claims.Endpoint = "another"
	return a.refused(a.send(t.URL, []byte(a.autoscaler.Sign(claims).JSON())), http.StatusForbidden, "endpoint_mismatch")
}

// understated asks for more tokens than it paid for.
func (a *attempt) understated() error {
	t, err := a.route(a.options.tokens)
	if err != nil {
		return err
	}
	body, err := a.style.body(t.raw, a.prompt(), 10*a.options.tokens)
	if err != nil {
		return err
	}
	return a.refused(a.sendBody(t.URL, body), http.StatusForbidden, "cost_exceeded")
}

func (a *attempt) noTicket() error {
	return a.refused(a.send(a.anyWorker(), nil), http.StatusUnprocessableEntity, "invalid_ticket")
}

func (a *attempt) anyWorker() string { return a.workers[a.variant%len(a.workers)] }

func (a *attempt) garbled() error {
	body, err := a.style.body(nil, a.prompt(), a.options.tokens)
	if err != nil {
		return err
	}
	return a.refused(a.sendBody(a.anyWorker(), body[:len(body)/2]), http.StatusBadRequest, "invalid_json")
}

func (a *attempt) wrongKey() error {
	status, body, err := a.ask("not-"+apiKey, a.options.tokens)
	switch {
	case err != nil:
		return err
	case status != http.StatusUnauthorized:
		return fmt.Errorf("route: 401 expected, %d came", status)
	case json.Valid(body):
		return nil
	}
	return errors.New("route: the refusal is not JSON")
}
