package sidecar

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/usher-sidecar/usher/dialect"
	"github.com/usher-sidecar/usher/sidecar/account"
	"github.com/usher-sidecar/usher/sidecar/http1"
	"github.com/usher-sidecar/usher/sidecar/upstream"
)

// A relay passes one answer of the model server on to the client: the head as
// it came, but for its hop-by-hop fields, and every piece of the body as soon
// as it is here.
type relay struct {
	x       *exchange
	resp    *upstream.Response
	framing framing
	final   bool           // the last answer on its connection, because of a drain
	stream  dialect.Stream // to which an error event can be appended
	tail    eventTail      // of it
	finish  dialect.Finish // looks for its last word
	strict  bool           // a clean end without that is a break
	last    time.Time      // when the last piece came
	err     error          // what broke the body at the model server's side
}

// A framing is how the client learns where the body ends (RFC 9112 section 6).
type framing int

const (
	byLength framing = iota // a declared length, or no body at all
	byChunks
	byClose // HTTP/1.0 without a length: only the connection's end can tell
)

// relayBuffers hold a piece of body and room for its chunk framing. A relay
// takes one only while it has something to move: a silent stream holds none.
var relayBuffers = sync.Pool{New: func() any { return new(relayBuffer) }}

type relayBuffer struct {
	piece [16 << 10]byte
	join  [17 << 10]byte
	size  [20]byte
	head  []byte
	parts [4][]byte // what one write is put together of
}

// errUnfinished is a stream that ended cleanly without its API's last word.
var errUnfinished = fmt.Errorf("%w: its stream ended without the last word", upstream.ErrBroken)

var (
	crlf      = []byte("\r\n")
	lastChunk = []byte("\r\n0\r\n\r\n")
)

// answer relays the response and accounts for how it ended. The answer has been
// begun when it returns, whatever happened.
func (x *exchange) answer(ctx *fasthttp.RequestCtx, resp *upstream.Response) {
	r := &relay{x: x, resp: resp, strict: x.sidecar.strictStreams, last: time.Now()}
	x.account.Status = resp.StatusCode()
	switch {
	case resp.ContentLength() >= 0:
		r.framing = byLength
	case ctx.Request.Header.IsHTTP11():
		r.framing = byChunks
	default:
		r.framing = byClose
		ctx.SetConnectionClose()
	}
	r.final = x.sidecar.drain.begun()
	closing := ctx.Request.Header.ConnectionClose() || ctx.Response.ConnectionClose() || r.final
	if closing {
		ctx.SetConnectionClose()
	}
	werr := r.run(r.head(ctx, closing))
	r.end(ctx, werr)
}

// head writes the response head into a buffer.
func (r *relay) head(ctx *fasthttp.RequestCtx, closing bool) *relayBuffer {
	b := relayBuffers.Get().(*relayBuffer)
	c := &r.x.sidecar.cors
	h := append(b.head[:0], "HTTP/1.1 "...)
	h = append(h, r.resp.Status()...)
	h = append(h, "\r\n"...)
	names := b.join[:0] // of the model server's fields, where a page may ask for them
	h = r.resp.AppendHeader(h, func(name []byte) bool {
		if http1.EqualFold(name, "x-request-id") || c.enabled() && http1.HasPrefixFold(name, "access-control-") {
			return true
		}
		if c.enabled() {
			names = append(append(names, ", "...), name...)
		}
		return false
	})
	h = append(h, headerRequestID+": "...)
	h = append(h, r.x.account.ID...)
	if spends(r.x.account.Status) && len(r.resp.Peek("x-should-retry")) == 0 {
		h = append(h, "\r\n"+headerShouldRetry+": false"...)
	}
	h = append(h, "\r\n"+headerServerTiming+": "...)
	h = timing(h, &r.x.account.Times)
	h = append(h, "\r\n"...)
	h = c.appendFields(h, ctx.Request.Header.Peek(fasthttp.HeaderOrigin), r.resp.Lists("vary", "origin"), names)
	switch r.framing {
	case byChunks:
		h = append(h, "Transfer-Encoding: chunked\r\n"...)
	case byLength:
		if !r.resp.Bodiless() {
			h = append(h, "Content-Length: "...)
			h = strconv.AppendInt(h, r.resp.ContentLength(), 10)
			h = append(h, "\r\n"...)
		} else if length := r.resp.Peek("content-length"); r.x.account.Status == fasthttp.StatusNotModified && isLength(length) {
			// It tells the length that the answer to a GET would have (RFC 9110
			// section 8.6).
			h = append(append(append(h, "Content-Length: "...), length...), "\r\n"...)
		}
	}
	if closing {
		h = append(h, "Connection: close\r\n"...)
	} else if !ctx.Request.Header.IsHTTP11() {
		h = append(h, "Connection: keep-alive\r\n"...)
	}
	b.head = append(h, "\r\n"...)
	stream := dialect.StreamOf(r.resp.Peek("content-type"))
	r.x.account.Answer.EventStream = stream != dialect.NoStream
	if stream != dialect.NoStream && len(r.resp.Peek("content-encoding")) == 0 {
		if r.framing != byLength {
			r.stream = stream
		}
		if r.x.account.Status < fasthttp.StatusBadRequest {
			r.finish = r.x.api.Ending.Watch()
		}
	}
	return b
}

// run moves the body to the client. The head goes with the first piece where
// that is here already, and alone where it is not. It returns what writing
// failed with; r.err is what reading did.
func (r *relay) run(b *relayBuffer) error {
	defer func() {
		if b != nil {
			relayBuffers.Put(b)
		}
	}()
	head := b.head
	for {
		if !r.resp.Ready() {
			// About to wait: nothing is held back, and no buffer kept.
			if len(head) > 0 {
				if err := r.write(b, head); err != nil {
					return err
				}
				head = nil
			}
			relayBuffers.Put(b)
			b = nil
			if r.err = r.resp.Wait(); r.err != nil {
				return nil
			}
			b = relayBuffers.Get().(*relayBuffer)
		}
		n, err := r.resp.Read(b.piece[:])
		if n > 0 {
			r.passed(b.piece[:n])
		}
		done := err == io.EOF
		if done && r.strict && r.finish.Missing() {
			// Its client would take what it got for the whole.
			done, err = false, errUnfinished
		}
		if werr := r.piece(b, head, b.piece[:n], done); werr != nil {
			return werr
		}
		head = nil
		if done {
			return nil
		}
		if err != nil {
			r.err = err
			return nil
		}
	}
}

// piece writes what there is: head, bytes, and the end of the body.
func (r *relay) piece(b *relayBuffer, head, p []byte, done bool) error {
	if r.framing != byChunks {
		if len(head)+len(p) == 0 {
			return nil
		}
		return r.write(b, head, p)
	}
	switch {
	case len(p) > 0:
		size := append(strconv.AppendInt(b.size[:0], int64(len(p)), 16), "\r\n"...)
		end := crlf
		if done {
			end = lastChunk
		}
		return r.write(b, head, size, p, end)
	case done:
		return r.write(b, head, lastChunk[2:])
	case len(head) > 0:
		return r.write(b, head)
	}
	return nil
}

func (r *relay) write(b *relayBuffer, pieces ...[]byte) error {
	parts := b.parts[:copy(b.parts[:], pieces)] // the variadic slice would be an allocation
	err := r.x.conn.writeBuffers(b.join[:], parts)
	clear(parts)
	return err
}

// passed accounts for a piece.
func (r *relay) passed(p []byte) {
	now := time.Now()
	x := r.x
	if x.account.Times.FirstByte == 0 {
		x.account.Times.FirstByte = now.Sub(x.account.Times.Start)
		x.sidecar.book.FirstByte(&x.account)
	} else {
		x.sidecar.book.Gap(now.Sub(r.last))
	}
	r.last = now
	x.account.Answer.Pieces++
	x.account.BytesOut += int64(len(p))
	x.sidecar.sawBytes.at(now)
	if r.stream != dialect.NoStream {
		r.tail.write(p)
	}
	r.finish.Write(p)
}

// end closes the line, tells a client that is still there of a break, and
// accounts for the request.
func (r *relay) end(ctx *fasthttp.RequestCtx, werr error) {
	x := r.x
	cause := x.why()
	if cause != nil && (r.err != nil || werr != nil) {
		r.err = cause // what is whole was not broken by what came after
	}
	x.unbind()
	r.resp.Close()
	x.line = nil
	switch {
	case r.err == nil && werr == nil:
		x.account.Outcome = account.Relayed(x.account.Status)
		x.account.Answer.Unfinished = r.finish.Missing()
		x.conn.answered()
		if r.final {
			x.conn.watched.Linger()
		}
		x.settle()
		return
	case errors.Is(cause, errCut):
		x.account.Outcome = account.Cut
	case r.err != nil && cause == nil:
		x.account.Outcome, x.account.Detail = refusalOf(r.err).outcome, upstream.Detail(r.err)
		x.sidecar.suspect(r.err)
	default:
		x.clientGone(werr)
	}
	if werr == nil && x.account.Status != account.StatusClientGone {
		r.lastEvent()
	}
	ctx.SetConnectionClose()
	r.cut()
	x.settle()
}

// cut ends the client's connection in the middle of an answer. Chunks and
// lengths make a plain close visible; where the close is the framing, only a
// reset is.
func (r *relay) cut() {
	if r.framing == byClose {
		r.x.conn.watched.Reset()
		return
	}
	_ = r.x.conn.Close()
}

func isLength(value []byte) bool {
	_, ok := http1.ParseLength(value)
	return ok
}
