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

// A kind is one way for a client to behave. play returns nil if the answer was correct,
// and an error that wraps errAgain if an outage interfered.
type kind struct {
	name   string
	expect string // for the table
	play   func(*attempt) error
}

var (
	good = &kind{"good", "200", behave}
	lost = &kind{"lost", "nothing: the ticket is never used", lose}

	hungUpOn = &kind{"hung up on", "the model server stops", hangUp}
)

// mischief is what -bad chooses from.
var mischief = []*kind{
	lost,
	{"late", "200: some leeway is allowed", comeLate},
	{"replayed", "200, then 409 reqnum_replayed", replayTicket},
	{"sent twice at once", "200 for one, 409 reqnum_replayed for the other", sendTwice},
	{"too old", "409 reqnum_stale", sendTooOld},
	{"tampered with", "401 bad_signature", tamper},
	{"forged", "401 bad_signature", forge},
	{"wrong worker", "403 url_mismatch", goToWrongWorker},
	{"wrong endpoint", "403 endpoint_mismatch", nameWrongEndpoint},
	{"cost understated", "403 cost_exceeded", understateCost},
	{"no ticket", "422 invalid_ticket", sendNoTicket},
	{"garbled", "400 invalid_json", garble},
	{"wrong API key", "401 from the autoscaler", useWrongKey},
	hungUpOn,
}

func behave(a *attempt) error {
	t, err := a.route(a.options.tokens)
	if err != nil {
		return err
	}
	return a.served(t)
}

// served sends a valid ticket, whose request must be served.
func (a *attempt) served(t ticket) error {
	got := a.send(t.URL, t.raw)
	a.firstByte = got.firstByte
	return a.whole(t.URL, got)
}

func lose(a *attempt) error {
	_, err := a.route(a.options.tokens)
	return err
}

// comeLate holds on to the ticket for a while, but not until so many others have been
// issued that it is too old.
func comeLate(a *attempt) error {
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

func replayTicket(a *attempt) error {
	t, err := a.route(a.options.tokens)
	if err != nil {
		return err
	}
	if err := a.served(t); err != nil {
		return err
	}
	return a.refused(a.send(t.URL, t.raw), http.StatusConflict, "reqnum_replayed")
}

// sendTwice sends two copies at the same time, exactly one of which may pass.
func sendTwice(a *attempt) error {
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
	// A ticket stays valid if the model server could not be reached, so during an outage
	// the second copy may get that far as well.
	if err := a.refused(second, http.StatusConflict, code); err != nil {
		if a.outages.excuse(t.URL, second) {
			return fmt.Errorf("%w: %w", errAgain, err)
		}
		return err
	}
	return nil
}

// sendTooOld sends a ticket with a number below the window, after one under the same key
// that is not.
func sendTooOld(a *attempt) error {
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

// claims returns what a ticket says.
func (a *attempt) claims(t ticket) autoscaler.Claims {
	return autoscaler.Claims{
		Cost: autoscaler.Float(float64(a.options.tokens)), Endpoint: endpoint, Reqnum: t.Reqnum, URL: t.URL,
	}
}

// tamper changes a member that is signed, or the signature.
func tamper(a *attempt) error {
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
	case 1: // far above the others, so that it cannot be a replay
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

func forge(a *attempt) error {
	t, err := a.route(a.options.tokens)
	if err != nil {
		return err
	}
	forged := a.attacker.Sign(a.claims(t)).JSON()
	return a.refused(a.send(t.URL, []byte(forged)), http.StatusUnauthorized, "bad_signature")
}

// goToWrongWorker takes the ticket to another worker or, if there is only one, a ticket
// for another worker to this one.
func goToWrongWorker(a *attempt) error {
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

func nameWrongEndpoint(a *attempt) error {
	t, err := a.route(a.options.tokens)
	if err != nil {
		return err
	}
	claims := a.claims(t)
	claims.Endpoint = "another"
	return a.refused(a.send(t.URL, []byte(a.autoscaler.Sign(claims).JSON())), http.StatusForbidden, "endpoint_mismatch")
}

// understateCost asks for more tokens than the ticket's cost.
func understateCost(a *attempt) error {
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

func sendNoTicket(a *attempt) error {
	return a.refused(a.send(a.anyWorker(), nil), http.StatusUnprocessableEntity, "invalid_ticket")
}

func (a *attempt) anyWorker() string { return a.workers[a.variant%len(a.workers)] }

func garble(a *attempt) error {
	body, err := a.style.body(nil, a.prompt(), a.options.tokens)
	if err != nil {
		return err
	}
	return a.refused(a.sendBody(a.anyWorker(), body[:len(body)/2]), http.StatusBadRequest, "invalid_json")
}

func useWrongKey(a *attempt) error {
	status, body, err := a.ask("not-"+apiKey, a.options.tokens)
	switch {
	case err != nil:
		return err
	case status != http.StatusUnauthorized:
		return fmt.Errorf("route: expected 401, got %d", status)
	case json.Valid(body):
		return nil
	}
	return errors.New("route: the refusal is not JSON")
}
