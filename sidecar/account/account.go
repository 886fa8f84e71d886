// Package account records what happened to a request: its outcome, from a closed set,
// what it contained and where its time went. Sinks receive the records. A record holds
// no prompt, signature or key.
package account

import "time"

// StatusClientGone is logged for a client that left before its answer, as nginx
// does; it is never sent.
const StatusClientGone = 499

// RouteOther is the route label of every path that is not a route.
const RouteOther = "other"

// A Request is the account of one request. It is written by the goroutine that
// serves the request; sinks read it in Ended and keep no reference to it.
type Request struct {
	ID      string // X-Request-Id
	TraceID string // of the trace that it belongs to; "": none
	Client  string // its address
	Route   string // its label; RouteOther if there is none
	Ticket  Ticket

	Outcome  Outcome
	Status   int
	Detail   string // why the model server failed; never sent to the client
	Exceeded bool   // asked for more work than its cost

	Times  Times
	Answer Answer

	Span   Sink // for this request alone; nil: it is not traced
	Report Sink // for this request alone; nil: its ticket was not verified, or nothing is reported

	BytesIn  int64 // of the request's body
	BytesOut int64 // of the answer's
}

// A Ticket is the part of a request's ticket that is recorded. Until Reserved is
// set it may be forged.
type Ticket struct {
	Endpoint string
	Reqnum   int64 // -1: none was read
	Cost     float64
	Index    string  // request_idx, an integer literal; "": it has none
	Workload float64 // what reports count it for; valid if Verified and if reports are sent
	Verified bool    // it passed all checks of the ticket
	Reserved bool    // it was verified, and its signed number was reserved
	Admitted bool    // the request got its turn
}

// Times says where the time of a request went. Moments that were not reached and
// their durations are zero.
type Times struct {
	Start, End time.Time
	VerifyAt   time.Time
	Verify     time.Duration // of the signature
	Hold       time.Duration // waited for a missing number
	Queue      time.Duration // waited for a slot
	Sent       time.Time     // when sending to the model server began; zero if nothing could be sent
	Upstream   time.Duration // from acquiring a connection to the head of the answer
	FirstByte  time.Duration // from Start to the first byte of the answer's body
}

// An Answer is what the model server's answer looked like.
type Answer struct {
	Unfinished  bool // a stream that ended cleanly, but without its API's final event
	EventStream bool // it is a stream of events, or of lines of JSON
	Pieces      int  // of its body, as they arrived
}
