package sidecar

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/sidecar/account"
	"github.com/usher-sidecar/usher/sidecar/upstream"
)

// refuse answers an error. A client that has gone gets nothing, unless it was
// refused before it had anything to wait for: it may have closed its half only.
func (x *exchange) refuse(ctx *fasthttp.RequestCtx, err error) {
	cause := x.why()
	if cause != nil && x.waited {
		err = cause
	}
	if errors.Is(err, errClientGone) {
		x.clientGone(nil)
		x.conn.answered() // with nothing
		ctx.SetConnectionClose()
		x.settle()
		return
	}
	x.sidecar.suspect(err)
	err = x.explain(&ctx.Request.Header, err)
	r := refusalOf(err)
	x.account.Outcome, x.account.Status, x.account.Detail = r.outcome, r.status, upstream.Detail(err)
	if errors.Is(err, errCutSent) {
		x.account.Outcome = account.Cut // the model server is not to blame
	}
	ctx.Response.Reset()
	r.write(&ctx.Response, told{x.api.Errors, x.account.ID, x.sidecar.retryAfter(r), x.spent(err)})
	ctx.Response.Header.SetBytesV(headerServerTiming, timing(nil, &x.account.Times))
	x.sidecar.cors.annotate(&ctx.Request.Header, &ctx.Response.Header)
	x.account.BytesOut = int64(len(ctx.Response.Body()))
	if cause != nil || closes(err) || ctx.Request.Header.ConnectionClose() || x.sidecar.drain.begun() {
		ctx.SetConnectionClose()
		x.conn.watched.Linger()
	}
	x.settle()
}

// clientGone is the outcome of a request whose client left, or was cut since it
// took nothing; werr is what writing to it failed with.
func (x *exchange) clientGone(werr error) {
	a := &x.account
	a.Outcome, a.Status = account.ClientGone, account.StatusClientGone
	if x.conn.watched.Stalled() || errors.Is(werr, os.ErrDeadlineExceeded) {
		a.Outcome, a.Detail = account.ClientStalled, errSlowClient.Error()
	}
}

// retryAfter is what the answer says of when to come back, in seconds.
func (s *Sidecar) retryAfter(r refusal) int {
	if !r.retry {
		return 0
	}
	return s.comeback.seconds(time.Now())
}

// closes tells which refusals end the connection: those after which it is not
// known where the next request begins, or how much of this one is to come.
func closes(err error) bool {
	var fault *httpFault
	return errors.As(err, &fault) || errors.Is(err, errDraining) || errors.Is(err, errCut) || errors.Is(err, errCutSent) ||
		errors.Is(err, errBodyTooLarge) || errors.Is(err, errBodyRoom) || errors.Is(err, errBodyTimeout) || errors.Is(err, errBodyFraming)
}

// settle gives everything back and accounts for the request, exactly once.
func (x *exchange) settle() {
	if x.settled {
		return
	}
	x.settled = true
	x.conn.watched.Unwatch()
	x.unbind()
	if x.line != nil {
		x.line.Release()
	}
	x.pass.Release()
	if x.onBehalf {
		x.conn.proxied.Count(netip.Addr{})
	}
	x.body.release()
	x.account.Times.End = time.Now()
	x.sidecar.book.Ended(&x.account)
	x.sidecar.calls.remove(&x.call, !x.account.Outcome.Whole())
}

// recoverPanic keeps a fault of ours from ending the process, which fasthttp
// would let it do, and from keeping a slot.
func (x *exchange) recoverPanic(ctx *fasthttp.RequestCtx) {
	fault := recover()
	if fault == nil {
		return
	}
	x.sidecar.metrics.Panics.Inc()
	x.sidecar.log.Error("internal fault", zap.String("request_id", x.account.ID),
		zap.String("fault", fmt.Sprint(fault)), zap.Stack("stack"))
	x.call.cancel(errInternal)
	x.refuse(ctx, errInternal)
	ctx.SetConnectionClose()
}
