package account

// An Outcome is how a request ended: one of a closed set, so that it can be a
// label and an index. The zero value is OK.
type Outcome uint8

// The outcomes: answers of the model server, requests that the client or the drain
// broke off, and refusals in the order of their checks.
const (
	OK              Outcome = iota
	UpstreamRefused         // relayed whole, but a 4xx of the model server's own
	UpstreamError           // relayed whole, but a 5xx of the model server's own
	ClientGone
	ClientStalled // read nothing for the write time-out
	Cut           // by the end of the drain, or of its session
	BadRequest    // not valid HTTP
	Internal      // a bug in Usher
	RouteUnknown
	MethodNotAllowed
	Draining
	Loading // before the worker was loaded for the first time
	UnsupportedEncoding
	BodyTooLarge
	InvalidJSON
	InvalidTicket
	EndpointMismatch
	URLMismatch
	ReqnumReplayed
	ReqnumStale
	KeyUnavailable
	BadSignature
	SessionUnknown
	CostExceeded
	QueueFull
	QueueTimeout
	UpstreamUnreachable
	UpstreamBroken
	UpstreamTimeout

	// Outcomes is the number of outcomes.
	Outcomes
)

// A Class groups outcomes by who can do something about them.
type Class string

// The classes, in the order in which they are shown.
const (
	ClassServed Class = "served"
	ClassTicket Class = "ticket" // the client's request or ticket is at fault
	ClassBusy   Class = "busy"   // no room, or no slot in time
	ClassWorker Class = "worker" // Usher itself could not serve it
	ClassModel  Class = "model"  // the model server failed
	ClassGone   Class = "gone"   // the client left, or was cut
)

// Classes lists them all.
var Classes = []Class{ClassServed, ClassTicket, ClassBusy, ClassWorker, ClassModel, ClassGone}

var outcomes = [Outcomes]struct {
	code  string
	class Class
}{
	OK:                  {"ok", ClassServed},
	UpstreamRefused:     {"upstream_refused", ClassTicket},
	UpstreamError:       {"upstream_error", ClassModel},
	ClientGone:          {"client_gone", ClassGone},
	ClientStalled:       {"client_stalled", ClassGone},
	Cut:                 {"cut", ClassGone},
	BadRequest:          {"bad_request", ClassTicket},
	Internal:            {"internal", ClassWorker},
	RouteUnknown:        {"route_unknown", ClassTicket},
	MethodNotAllowed:    {"method_not_allowed", ClassTicket},
	Draining:            {"draining", ClassWorker},
	Loading:             {"loading", ClassWorker},
	UnsupportedEncoding: {"unsupported_encoding", ClassTicket},
	BodyTooLarge:        {"body_too_large", ClassTicket},
	InvalidJSON:         {"invalid_json", ClassTicket},
	InvalidTicket:       {"invalid_ticket", ClassTicket},
	EndpointMismatch:    {"endpoint_mismatch", ClassTicket},
	URLMismatch:         {"url_mismatch", ClassTicket},
	ReqnumReplayed:      {"reqnum_replayed", ClassTicket},
	ReqnumStale:         {"reqnum_stale", ClassTicket},
	KeyUnavailable:      {"key_unavailable", ClassWorker},
	BadSignature:        {"bad_signature", ClassTicket},
	SessionUnknown:      {"session_unknown", ClassTicket},
	CostExceeded:        {"cost_exceeded", ClassTicket},
	QueueFull:           {"queue_full", ClassBusy},
	QueueTimeout:        {"queue_timeout", ClassBusy},
	UpstreamUnreachable: {"upstream_unreachable", ClassModel},
	UpstreamBroken:      {"upstream_broken", ClassModel},
	UpstreamTimeout:     {"upstream_timeout", ClassModel},
}

// String returns the outcome as it appears in the log, the metrics and, for a refusal,
// the answer's error_type.
func (o Outcome) String() string { return outcomes[o].code }

// Class returns the outcome's class.
func (o Outcome) Class() Class { return outcomes[o].class }

// Refused reports whether the request was refused or the model server failed: what an
// operator may have to explain to a client.
func (o Outcome) Refused() bool { return o.Class() != ClassServed && o.Class() != ClassGone }

// Relayed returns the outcome of an answer with this status that was relayed
// completely.
func Relayed(status int) Outcome {
	switch {
	case status >= 500:
		return UpstreamError
	case status >= 400:
		return UpstreamRefused
	}
	return OK
}

// Whole reports whether the client got a complete answer from the model server.
func (o Outcome) Whole() bool { return o == OK || o == UpstreamRefused || o == UpstreamError }
