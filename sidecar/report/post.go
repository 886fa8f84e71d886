package report

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// tryTimeout bounds a report to one address, including its answer.
	tryTimeout = 10 * time.Second
	// The rest of an answer does not matter; a little of it is read so that the
	// connection can be kept.
	maxAnswer     = 64 << 10
	answerTimeout = time.Second
	// firstAgain is how long the first address is passed over after it failed: one that
	// hangs delays each report that it is tried with.
	firstAgain = time.Minute
)

// An Outcome is the result of an attempt to report.
type Outcome string

// The outcomes of an attempt.
const (
	Acknowledged Outcome = "acknowledged" // answered with a 2xx
	Refusal      Outcome = "refused"      // answered with another status
	TimedOut     Outcome = "timeout"      // no answer in time
	Unreachable  Outcome = "unreachable"  // no connection, or it broke, or the answer is not HTTP
)

// Outcomes lists all outcomes.
var Outcomes = []Outcome{Acknowledged, Refusal, TimedOut, Unreachable}

// errStatus is wrapped by the error of an attempt that was answered with a status
// other than 2xx.
var errStatus = errors.New("answered with status")

// A poster sends reports to the addresses.
type poster struct {
	client    http.Client
	addresses []string
	good      int       // the address that accepted the last report, which is tried first
	failed    time.Time // when the first address last failed
	secret    string    // must not appear in the text of an error
	tried     func(Kind, Outcome, error)
}

func newPoster(addresses []string, secret string, transport http.RoundTripper, tried func(Kind, Outcome, error)) *poster {
	return &poster{
		client: http.Client{
			Transport: transport,
			// The token is only for the configured addresses, not for those they
			// redirect to.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		addresses: addresses, secret: secret, tried: tried,
	}
}

// first tries the addresses in turn until one accepts the report. It begins with the one
// that accepted the last report, but a minute after the first address failed with that
// again, so that workers which left it in a bad moment come back.
func (p *poster) first(ctx context.Context, kind Kind, body []byte) bool {
	from := p.good
	if time.Since(p.failed) >= firstAgain {
		from = 0
	}
	for i := range p.addresses {
		at := (from + i) % len(p.addresses)
		if p.try(ctx, kind, at, len(p.addresses)-i, body) {
			p.good = at
			return true
		}
		if at == 0 {
			p.failed = time.Now()
		}
	}
	return false
}

// all sends the report to each address and reports whether any accepted it.
func (p *poster) all(ctx context.Context, kind Kind, body []byte) (taken bool) {
	for at := range p.addresses {
		taken = p.try(ctx, kind, at, len(p.addresses)-at, body) || taken
	}
	return taken
}

// try sends the report to one address. If ctx has a deadline, it leaves a share of
// the time for each address still to be tried.
func (p *poster) try(ctx context.Context, kind Kind, at, left int, body []byte) bool {
	timeout := tryTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline)/time.Duration(left))
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := p.post(ctx, cancel, strings.TrimSuffix(p.addresses[at], "/")+kind.path(), body)
	outcome := outcomeOf(err)
	if err != nil {
		err = fmt.Errorf("%s: %s", p.addresses[at], p.clean(err))
	}
	p.tried(kind, outcome, err)
	return err == nil
}

func (p *poster) post(ctx context.Context, cancel func(), address string, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "usher")
	response, err := p.client.Do(request)
	if err != nil {
		return err
	}
	// The head of the response is the acknowledgement, even if its body never ends.
	enough := time.AfterFunc(answerTimeout, cancel)
	_, _ = io.CopyN(io.Discard, response.Body, maxAnswer)
	enough.Stop()
	_ = response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return fmt.Errorf("%w %d", errStatus, response.StatusCode)
	}
	return nil
}

func outcomeOf(err error) Outcome {
	var timeout net.Error
	switch {
	case err == nil:
		return Acknowledged
	case errors.Is(err, errStatus):
		return Refusal
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return TimedOut
	}
	return Unreachable
}

// clean returns the text of an error without anything that the server may have echoed:
// errors of net/http can quote the answer, and the answer the report.
func (p *poster) clean(err error) string {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // the address is named by the caller
	}
	var network *net.OpError
	switch {
	case outcomeOf(err) == TimedOut:
		return "no answer in time"
	case errors.Is(err, context.Canceled):
		return "given up"
	case errors.Is(err, errStatus), errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
	case strings.Contains(err.Error(), "malformed HTTP"):
		return "the answer is not HTTP"
	}
	text := err.Error()
	if p.secret != "" && strings.Contains(text, p.secret) {
		return "failed; the error is not shown because it contains MASTER_TOKEN"
	}
	return text[:min(len(text), 300)]
}
