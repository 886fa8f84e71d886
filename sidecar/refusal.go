package sidecar

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/usher-sidecar/usher/crypto"
	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/envelope"
	"github.com/usher-sidecar/usher/reorder"
	"github.com/usher-sidecar/usher/replay"
	"github.com/usher-sidecar/usher/sidecar/account"
	"github.com/usher-sidecar/usher/sidecar/front"
	"github.com/usher-sidecar/usher/sidecar/gate"
	"github.com/usher-sidecar/usher/sidecar/upstream"
)

// Errors that the handler finds itself; all others come from the packages that
// check.
var (
	errRouteUnknown = errors.New("path is not a route")
	errMethod       = errors.New("method is not one of the route's")
	errDraining     = errors.New("draining")
	errLoading      = errors.New("not loaded yet")
	errEncoding     = errors.New("content encoding is not identity")
	errOpenFull     = errors.New("no place left for open routes")
	errCut          = errors.New("cut at the end of the drain")
	errCutSent      = errors.New("cut at the end of the drain, with its ticket spent")
	errInternal     = errors.New("internal fault")
	errSlowClient   = errors.New("client took nothing for the write time-out")
)

// A refusal is the answer to a request that Usher does not forward or that failed. The
// table of refusals is the only place where an error becomes a status and a code.
type refusal struct {
	cause   error
	status  int
	outcome account.Outcome // its String is the error_type
	message string          // one sentence that tells the user what to do
	retry   bool            // the answer carries Retry-After: the same request may pass later
}

// An explained error is an error of the table with details that depend on the settings
// or the request. They are appended to the message.
type explained struct {
	cause error
	words string
}

func (e *explained) Error() string { return e.words }

func (e *explained) Unwrap() error { return e.cause }

// refusals is in the order of the checks. An error that is not in it is a bug, and is
// answered with 500.
var refusals = []refusal{
	{errRouteUnknown, 404, account.RouteUnknown, "This path is not served here; call one of these", false},
	{errMethod, 405, account.MethodNotAllowed, "This route does not allow this method", false},
	{errDraining, 503, account.Draining, "This worker is shutting down; ask the autoscaler for another route.", true},
	{errLoading, 503, account.Loading, "This worker is still loading its model; ask the autoscaler for another route.", true},
	{errEncoding, 415, account.UnsupportedEncoding, "Send the body without Content-Encoding.", false},
	{front.ErrBodyTooLarge, 413, account.BodyTooLarge, "The body is larger than this worker accepts", false},
	{envelope.ErrInvalidHeader, 400, account.InvalidJSON, "The ticket in Authorization is not base64url of one acceptable JSON object", false},
	{envelope.ErrInvalidJSON, 400, account.InvalidJSON, "The body is not one acceptable JSON object", false},
	{envelope.ErrDuplicateMember, 400, account.InvalidJSON, "The body is not one acceptable JSON object", false},
	{errNoHeadTicket, 422, account.InvalidTicket, "Send the ticket in the Authorization header, as SignedRoute and the base64url of its JSON object: this method has no body that could hold it.", false},
	{envelope.ErrInvalidTicket, 422, account.InvalidTicket, "The ticket is not complete", false},
	{envelope.ErrEndpointMismatch, 403, account.EndpointMismatch, "The ticket is for another endpoint; ask the autoscaler for a route to this one.", false},
	{envelope.ErrURLMismatch, 403, account.URLMismatch, "The ticket is for another worker; call the url in the ticket.", false},
	{replay.ErrReplayed, 409, account.ReqnumReplayed, "This ticket is in use, or was spent by an earlier attempt, even if that failed; ask the autoscaler for a new one for each attempt.", false},
	{replay.ErrStale, 409, account.ReqnumStale, "This ticket is too old; ask the autoscaler for a new one.", false},
	{crypto.ErrNoKey, 503, account.KeyUnavailable, "This worker has no key yet to verify tickets with; try again in a moment.", true},
	{crypto.ErrBadSignature, 401, account.BadSignature, "The signature does not match the ticket; send the autoscaler's answer unchanged.", false},
	{replay.ErrUnknownKey, 401, account.BadSignature, "The ticket was signed with a key that is no longer accepted; ask the autoscaler for a new one.", false},
	{gate.ErrSessionUnknown, 410, account.SessionUnknown, "No such session is open at this worker for this ticket; open a new one.", false},
	{gate.ErrCostExceeded, 403, account.CostExceeded, "The request asks for more work than the cost in its ticket; ask for less, or for a ticket with a higher cost.", false},
	{reorder.ErrFull, 429, account.QueueFull, "Too many requests are waiting at this worker; try again in a moment or ask for another route.", true},
	{front.ErrBodyBudget, 429, account.QueueFull, "Too many requests are waiting at this worker; try again in a moment or ask for another route.", true},
	{front.ErrCrowded, 429, account.QueueFull, "Too many connections from your address to this worker; wait until one of them is free, or ask for another route.", true},
	{errOpenFull, 429, account.QueueFull, "This worker has too many requests to routes without a ticket; try again in a moment.", true},
	{gate.ErrSessionsFull, 429, account.QueueFull, "This worker has no room for another session; try again in a moment or ask for another route.", true},
	{reorder.ErrTimeout, 429, account.QueueTimeout, "The request waited too long for a free slot at this worker; try again or ask for another route.", true},
	{upstream.ErrUnreachable, 502, account.UpstreamUnreachable, "The model server cannot be reached; the ticket is still good, try again in a moment.", false},
	{upstream.ErrBroken, 502, account.UpstreamBroken, "The model server broke off its answer; ask the autoscaler for another route.", false},
	{upstream.ErrTimeout, 504, account.UpstreamTimeout, "The model server did not answer in time; ask the autoscaler for another route.", false},
	{front.ErrBodyTimeout, 408, account.BadRequest, "The request did not arrive in time", false},
	{front.ErrBodyFraming, 400, account.BadRequest, "The body's transfer coding is malformed", false},
	{errCutSent, 502, account.UpstreamBroken, "This worker was shut down before the answer was complete; ask the autoscaler for another route.", false},
	{errCut, 503, account.Draining, "This worker was shut down before it had answered; ask the autoscaler for another route.", true},
}

// unforeseen is the answer to an error that is not in the table.
var unforeseen = refusal{errInternal, 500, account.Internal, "This worker had an internal error; ask the autoscaler for another route.", false}

// refusalOf finds the row for err and fills in what only err knows.
func refusalOf(err error) refusal {
	var fault *front.Fault
	if errors.As(err, &fault) {
		return refusal{err, fault.Status, account.BadRequest, fault.Reason + ".", false}
	}
	for _, r := range refusals {
		if errors.Is(err, r.cause) {
			r.message = withDetail(r.message, err)
			return r
		}
	}
	return unforeseen
}

// withDetail completes a message that has no full stop. The detail names members and
// offsets; package envelope promises that it contains nothing the client wrote.
func withDetail(message string, err error) string {
	if strings.HasSuffix(message, ".") {
		return message
	}
	var ticket *envelope.TicketError
	var more *explained
	switch {
	case errors.As(err, &more):
		return message + ": " + more.words + "."
	case errors.As(err, &ticket):
		return message + ": " + strings.Join(ticket.Faults, "; ") + "."
	}
	return message + ": " + err.Error() + "."
}

// Headers of a refusal. OpenAI's clients obey x-should-retry.
const (
	headerRefusal     = "X-Usher-Refusal"
	headerShouldRetry = "X-Should-Retry"
)

// A told is what an answer contains besides its refusal.
type told struct {
	shape      dialect.Shape // that clients of the called route expect
	requestID  string
	retryAfter int    // in seconds; used if the refusal says retry
	spent      bool   // this request spent its ticket
	final      bool   // a retry with the same ticket can only be refused
	allowed    string // methods of the called path
}

// answer returns the refusal as an HTTP answer.
func (r refusal) answer(t told) front.Answer {
	var fault *front.Fault
	if errors.As(r.cause, &fault) && fault.Plain {
		return front.Answer{Status: r.status, Type: "text/plain; charset=utf-8", Body: []byte(r.message + "\n")}
	}
	var fields []byte
	if !t.spent || r.saysSpent() { // otherwise it would say that the ticket is good
		fields = append(append(append(fields, headerRefusal+": "...), r.outcome.String()...), "\r\n"...)
	}
	switch r.status {
	case http.StatusUnauthorized:
		fields = append(fields, "WWW-Authenticate: SignedRoute\r\n"...)
	case http.StatusMethodNotAllowed:
		fields = append(append(append(fields, "Allow: "...), t.allowed...), "\r\n"...)
	}
	if t.final {
		fields = append(fields, headerShouldRetry+": false\r\n"...)
	}
	if r.retry {
		fields = append(strconv.AppendInt(append(fields, "Retry-After: "...), int64(t.retryAfter), 10), "\r\n"...)
	}
	return front.Answer{
		Status: r.status, Type: "application/json", Fields: fields,
		Body: t.shape.Error(r.message, r.outcome.String(), t.requestID),
	}
}

// final reports whether the same ticket would be refused again in any case.
func (r refusal) final() bool {
	switch r.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusConflict:
		return true
	}
	return r.saysSpent()
}

// saysSpent reports whether the code itself means that the ticket is spent.
func (r refusal) saysSpent() bool {
	return r.outcome == account.UpstreamBroken || r.outcome == account.UpstreamTimeout
}

// spends reports whether clients would retry after such an answer of the model server,
// although the ticket is spent and a retry can only get a 409.
func spends(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return true
	}
	return status >= http.StatusInternalServerError
}

// WriteAnswers prints the table of refusals as docs/answers.md shows it.
func WriteAnswers(w io.Writer) error {
	var b strings.Builder
	b.WriteString("| status | `error_type` | what it tells the client |\n| --- | --- | --- |\n")
	for i, r := range refusals {
		if i > 0 && r.outcome == refusals[i-1].outcome && r.message == refusals[i-1].message {
			continue // one more cause of the same answer
		}
		status := strconv.Itoa(r.status)
		if r.retry {
			status += " + `Retry-After`"
		}
		message := r.message
		if !strings.HasSuffix(message, ".") {
			message += ": …"
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s |\n", status, r.outcome, message)
	}
	b.WriteString("| 400, 408, 414, 417, 431, 505 | `bad_request` | What HTTP itself does not allow; the connection is closed. |\n")
	_, err := io.WriteString(w, b.String())
	return err
}
