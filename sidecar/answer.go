package sidecar

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/sidecar/account"
	"github.com/usher-sidecar/usher/sidecar/http1"
	"github.com/usher-sidecar/usher/sidecar/loop"
	"github.com/usher-sidecar/usher/sidecar/relay"
	"github.com/usher-sidecar/usher/sidecar/upstream"
)

// errUnfinished means that a stream ended cleanly, but without its API's final event
// (dialect.Ending).
var errUnfinished = fmt.Errorf("%w: its stream ended without the API's final event", upstream.ErrBroken)

// heads holds buffers for the heads of relayed answers while they are written.
var heads = sync.Pool{New: func() any { b := make([]byte, 0, 1<<10); return &b }}

// An answer is the model server's answer to an exchange, on its way to the client. It
// begins on the exchange's goroutine. If it is a stream, a loop may take it over.
type answer struct {
	member loop.Member // once a loop runs it
	taker  relay.Taker // of a lent connection
	x      *exchange
	resp   *upstream.Response
	relay  relay.Relay
}

// relayAnswer relays the response and records how it ended, or hands it to a loop if
// it continues as a stream. In any case the answer has begun when it returns.
func relayAnswer(x *exchange, resp *upstream.Response) {
	x.account.Status = resp.StatusCode()
	a := &answer{x: x, resp: resp, relay: relay.Relay{
		Client: x.conn, Source: resp, Account: &x.account, Meter: &x.h.book, OnPiece: x.h.model.onPiece,
	}}
	a.describe()
	head := heads.Get().(*[]byte)
	*head = a.appendHead((*head)[:0])
	x.conn.Head.Release()
	waits, broken, werr := a.relay.Start(*head)
	heads.Put(head)
	if waits {
		if a.lend() {
			return
		}
		broken, werr = a.relay.Run(nil)
	}
	a.finish(broken, werr)
}

// describe tells the relay how the answer ends, and how to show the client that it
// did.
func (a *answer) describe() {
	r, resp := &a.relay, a.resp
	r.Framing = a.framing()
	if a.x.h.model.strict {
		r.Strict = errUnfinished
	}
	stream := dialect.StreamOf(resp.Peek("content-type"))
	a.x.account.Answer.EventStream = stream != dialect.NoStream
	coding := resp.Peek("content-encoding")
	if stream == dialect.NoStream || len(coding) > 0 && !http1.EqualFold(coding, "identity") {
		return
	}
	if r.Framing != relay.ByLength {
		r.Stream = stream
	}
	if a.x.account.Status < http.StatusBadRequest && !resp.ToHEAD() {
		r.Finish = a.x.api.Ending.Watch()
	}
}

// framing returns how to show the client where the body ends.
func (a *answer) framing() relay.Framing {
	switch {
	case a.resp.ContentLength() >= 0:
		return relay.ByLength
	case a.x.conn.Head.HTTP11:
		return relay.ByChunks
	}
	a.x.conn.CloseAfter()
	return relay.ByClose
}

// appendHead appends the head of the answer: the model server's, unchanged except
// for hop-by-hop fields, and our own fields.
func (a *answer) appendHead(h []byte) []byte {
	x, resp := a.x, a.resp
	h = append(h, "HTTP/1.1 "...)
	h = append(h, resp.Status()...)
	h = append(h, "\r\n"...)
	from := len(h)
	h = resp.AppendHeader(h, x.conn.Owns)
	relayed := h[from:]
	if !x.route.Open && !x.pass.InSession() && spends(x.account.Status) && len(resp.Peek("x-should-retry")) == 0 {
		h = append(h, headerShouldRetry+": false\r\n"...)
	}
	h = x.conn.AppendFields(h, x.own(new(timingRoom)), relayed, resp.Lists("vary", "origin"))
	switch a.relay.Framing {
	case relay.ByChunks:
		h = append(h, "Transfer-Encoding: chunked\r\n"...)
	case relay.ByLength:
		if !resp.Bodiless() && !resp.ToHEAD() {
			h = append(h, "Content-Length: "...)
			h = append(strconv.AppendInt(h, resp.ContentLength(), 10), "\r\n"...)
		} else if length := resp.Peek("content-length"); x.account.Status != http.StatusNoContent && isLength(length) {
			// The length that the answer to a GET would have (RFC 9110 section 8.6).
			h = append(append(append(h, "Content-Length: "...), length...), "\r\n"...)
		}
	}
	return append(x.conn.AppendConnection(h), "\r\n"...)
}

// finish closes the connection to the model server, tells a client that is still
// there if the answer broke off, and records the outcome.
func (a *answer) finish(broken, werr error) {
	x, record := a.x, &a.x.account
	a.relay.Record()
	cause := x.why()
	if cause != nil && (broken != nil || werr != nil) {
		broken = cause // an answer that is complete cannot be broken afterwards
	}
	x.unbind()
	a.resp.Close()
	x.line = nil
	switch {
	case broken == nil && werr == nil:
		record.Outcome = account.Relayed(record.Status)
		record.Answer.Unfinished = a.relay.Finish.Missing()
		x.settle()
		return
	case errors.Is(cause, errCut), errors.Is(cause, errSessionEnded):
		record.Outcome = account.Cut
		broken = x.explain(cause, x.spent())
	case broken != nil && cause == nil:
		broken = x.explain(broken, x.spent())
		record.Outcome, record.Detail = refusalOf(broken).outcome, upstream.Detail(broken)
		x.h.model.suspect(broken)
	default:
		x.clientGone(werr)
	}
	var event []byte
	if werr == nil && record.Status != account.StatusClientGone && a.relay.Flush() == nil {
		why := refusalOf(broken)
		event = x.api.Errors.LastEvent(a.relay.Stream, why.message, why.outcome.String(), record.ID)
	}
	a.relay.Break(event)
	x.settle()
}

func isLength(value []byte) bool {
	_, ok := http1.ParseLength(value)
	return ok
}
