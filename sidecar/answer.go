package sidecar

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/sidecar/account"
	"github.com/usher-sidecar/usher/sidecar/front"
	"github.com/usher-sidecar/usher/sidecar/http1"
	"github.com/usher-sidecar/usher/sidecar/relay"
	"github.com/usher-sidecar/usher/sidecar/upstream"
)

// errUnfinished is a stream that ended cleanly without its API's last word.
var errUnfinished = fmt.Errorf("%w: its stream ended without the last word", upstream.ErrBroken)

// heads hold the heads of relayed answers while they are written.
var heads = sync.Pool{New: func() any { b := make([]byte, 0, 1<<10); return &b }}

// answer relays the response and records how it ended, or hands it to a loop if it
// continues as a stream. In any case the answer has begun when it returns.
func (x *exchange) answer(resp *upstream.Response) {
	a := &x.account
	a.Status = resp.StatusCode()
	r := &relay.Relay{
		Client: x.conn, Source: resp, Account: a, Meter: &x.h.book, Saw: x.h.model.sawBytes.at,
		Framing: x.framing(resp),
	}
	if x.h.model.strict {
		r.Strict = errUnfinished
	}
	stream := dialect.StreamOf(resp.Peek("content-type"))
	a.Answer.EventStream = stream != dialect.NoStream
	if stream != dialect.NoStream && len(resp.Peek("content-encoding")) == 0 {
		if r.Framing != relay.ByLength {
			r.Stream = stream
		}
		if a.Status < http.StatusBadRequest && !resp.ToHEAD() {
			r.Finish = x.api.Ending.Watch()
		}
	}
	head := heads.Get().(*[]byte)
	*head = x.appendHead((*head)[:0], resp, r.Framing)
	x.conn.ReleaseHead()
	waits, broken, werr := r.Start(*head)
	heads.Put(head)
	if waits {
		if x.lend(resp, r) {
			return
		}
		broken, werr = r.Run(nil)
	}
	x.finish(resp, r, broken, werr)
}

// framing returns how the client is shown where the body ends.
func (x *exchange) framing(resp *upstream.Response) relay.Framing {
	switch {
	case resp.ContentLength() >= 0:
		return relay.ByLength
	case x.conn.Head.HTTP11:
		return relay.ByChunks
	}
	x.conn.CloseAfter()
	return relay.ByClose
}

// appendHead appends the head of the answer: the model server's, unchanged except
// for hop-by-hop fields, and our own fields.
func (x *exchange) appendHead(h []byte, resp *upstream.Response, framing relay.Framing) []byte {
	h = append(h, "HTTP/1.1 "...)
	h = append(h, resp.Status()...)
	h = append(h, "\r\n"...)
	from := len(h)
	h = resp.AppendHeader(h, x.conn.Owns)
	relayed := h[from:]
	if !x.route.Open && !x.pass.InSession() && spends(x.account.Status) && len(resp.Peek("x-should-retry")) == 0 {
		h = append(h, headerShouldRetry+": false\r\n"...)
	}
	h = x.conn.AppendFields(h, x.own(), relayed, resp.Lists("vary", "origin"))
	switch framing {
	case relay.ByChunks:
		h = append(h, "Transfer-Encoding: chunked\r\n"...)
	case relay.ByLength:
		if !resp.Bodiless() && !resp.ToHEAD() {
			h = append(h, "Content-Length: "...)
			h = append(strconv.AppendInt(h, resp.ContentLength(), 10), "\r\n"...)
		} else if length := resp.Peek("content-length"); x.account.Status != http.StatusNoContent && isLength(length) {
			// It is the length that the answer to a GET would have (RFC 9110
			// section 8.6).
			h = append(append(append(h, "Content-Length: "...), length...), "\r\n"...)
		}
	}
	return append(x.conn.AppendConnection(h), "\r\n"...)
}

// own returns the fields that every answer to this request has.
func (x *exchange) own() front.Own {
	return front.Own{RequestID: x.account.ID, Timing: timing(x.timing[:0], &x.account.Times)}
}

// finish closes the connection to the model server, tells a client that is still
// there if the answer broke off, and records the outcome.
func (x *exchange) finish(resp *upstream.Response, r *relay.Relay, broken, werr error) {
	a := &x.account
	cause := x.why()
	if cause != nil && (broken != nil || werr != nil) {
		broken = cause // what is whole was not broken by what came after
	}
	x.unbind()
	resp.Close()
	x.line = nil
	switch {
	case broken == nil && werr == nil:
		a.Outcome = account.Relayed(a.Status)
		a.Answer.Unfinished = r.Finish.Missing()
		x.settle()
		return
	case errors.Is(cause, errCut), errors.Is(cause, errSessionEnded):
		a.Outcome = account.Cut
	case broken != nil && cause == nil:
		broken = x.explain(broken)
		a.Outcome, a.Detail = refusalOf(broken).outcome, upstream.Detail(broken)
		x.h.suspect(broken)
	default:
		x.clientGone(werr)
	}
	var event []byte
	if werr == nil && a.Status != account.StatusClientGone && r.Flush() == nil {
		why := refusalOf(broken)
		event = x.api.Errors.LastEvent(r.Stream, why.message, why.outcome.String(), a.ID)
	}
	r.Break(event)
	x.settle()
}

func isLength(value []byte) bool {
	_, ok := http1.ParseLength(value)
	return ok
}
