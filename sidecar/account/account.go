// Package account is what became of one request: the closed set of outcomes,
// the record of what it brought and where its time went, and the sinks that are
// told. It holds no prompt, signature or key.
package account

import "time"

// StatusClientGone is logged for a client that left before its answer, as nginx
// does; it is never sent.
const StatusClientGone = 499

// RouteOther is the route of every path that is none.
const RouteOther = "other"

// A Request is the account of one request. It is written by the goroutine that
// serves the request; sinks read it in Ended and keep no reference to it.
type Request struct {
	ID      string // X-Request-Id
	TraceID string // of the trace that it belongs to; "": none
	Client  string // address
	Route   string // RouteOther: none
	Ticket  Ticket

	Outcome  Outcome
	Status   int
	Detail   string // why the model server failed; never sent to the client
	Exceeded bool   // asked for more work than its cost

	Times  Times
	Answer Answer

	Span   Sink // is told of this request alone; nil: it is not traced
	Report Sink // the same; nil: its ticket was not verified, or nothing is reported

	BytesIn  int64 // of the request's body
	BytesOut int64 // of the answer's
}

// A Ticket is what is accounted of a request's ticket. Until Reserved is set,
// anyone may have made it up.
type Ticket struct {
	Endpoint string
	Reqnum   int64 // -1: none was read
	Cost     float64
	Index    string  // request_idx, an integer's literal; "": it has none
	Workload float64 // what a report counts it for; valid with Verified, where somebody asked for it
	Verified bool    // it is genuine, for this worker, and no other of its number gets through
	Reserved bool    // it was verified, and its number, which was signed, taken
	Admitted bool    // the request got its turn
}

// Times is where the time of a request went. A time that was not reached is
// zero, and so is a duration.
type Times struct {
	Start, End time.Time
	VerifyAt   time.Time
	Verify     time.Duration // of the signature
	Hold       time.Duration // waited for a missing number
	Queue      time.Duration // waited for a slot
	Sent       time.Time     // when its sending to the model server began; zero where nothing could be sent after all
	Upstream   time.Duration // from taking a line to the head of the answer
	FirstByte  time.Duration // from Start to the first byte of the answer's body
}

// An Answer is what the model server's answer looked like.
type Answer struct {
	Unfinished  bool // a stream that ended cleanly, but without its API's last word
	EventStream bool // or one of lines of JSON
	Pieces      int  // of its body, as they came
}
