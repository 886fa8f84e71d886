package sidecar

import (
	"errors"
	"fmt"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

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
		x.outcome, x.status = outcomeClientGone, statusClientGone
		x.conn.answered() // with nothing
		ctx.SetConnectionClose()
		x.settle()
		return
	}
	_ = ctx.SetWriteDeadline(time.Now().Add(x.sidecar.cfg.WriteTimeout))
	x.sidecar.suspect(err)
	r := refusalOf(err)
	x.outcome, x.status, x.detail = r.code, r.status, upstream.Detail(err)
	ctx.Response.Reset()
	r.write(&ctx.Response, x.api.Errors, x.requestID)
	ctx.Response.Header.SetBytesV(headerServerTiming, x.timing(nil))
	x.sidecar.cors.annotate(&ctx.Request.Header, &ctx.Response.Header)
	x.bytesOut = int64(len(ctx.Response.Body()))
	if cause != nil || closes(err) || ctx.Request.Header.ConnectionClose() {
		ctx.SetConnectionClose()
		x.conn.watched.Linger()
	}
	x.settle()
}

// closes tells which refusals end the connection: those after which it is not
// known where the next request begins, or how much of this one is to come.
func closes(err error) bool {
	var fault *httpFault
	return errors.As(err, &fault) || errors.Is(err, errDraining) || errors.Is(err, errCut) ||
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
	if x.admitted {
		x.slot.Release()
	}
	if x.reserved {
		x.reservation.Release()
	}
	x.body.release()
	now := time.Now()
	x.sidecar.metrics.observe(&x.record, now)
	x.tell(now)
	x.endTrace(now)
	x.log(now)
	x.sidecar.calls.remove(&x.call, x.outcome != outcomeOK)
}

// recoverPanic keeps a fault of ours from ending the process, which fasthttp
// would let it do, and from keeping a slot.
func (x *exchange) recoverPanic(ctx *fasthttp.RequestCtx) {
	fault := recover()
	if fault == nil {
		return
	}
	x.sidecar.metrics.panics.Inc()
	x.sidecar.log.Error("internal fault", zap.String("request_id", x.requestID),
		zap.String("fault", fmt.Sprint(fault)), zap.Stack("stack"))
	x.call.cancel(errInternal)
	x.refuse(ctx, errInternal)
	ctx.SetConnectionClose()
}
