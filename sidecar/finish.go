package sidecar

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/sidecar/account"
	"github.com/usher-sidecar/usher/sidecar/front"
	"github.com/usher-sidecar/usher/sidecar/upstream"
)

// refuse answers with an error. A client that is gone gets no answer, unless it was
// refused before it had to wait: it may only have closed its sending half.
func (x *exchange) refuse(err error) {
	cause := x.why()
	if cause != nil && x.waited {
		err = cause
	}
	if errors.Is(err, front.ErrGone) {
		x.clientGone(nil)
		x.conn.CloseAfter() // with no answer
		x.settle()
		return
	}
	x.h.model.suspect(err)
	spent := x.spent()
	err = x.explain(err, spent)
	r := refusalOf(err)
	a := &x.account
	a.Outcome, a.Status, a.Detail = r.outcome, r.status, upstream.Detail(err)
	if errors.Is(err, errCutSent) || errors.Is(err, errSessionEnded) && spent {
		a.Outcome = account.Cut // not a failure of the model server
	}
	allowed := ""
	if errors.Is(err, errMethod) {
		allowed = x.h.routes.Allowed(x.conn.Head.Path)
	}
	t := told{
		shape: x.api.Errors, requestID: a.ID, allowed: allowed,
		spent: spent && !x.pass.InSession(), final: x.final(r),
	}
	if r.retry {
		t.retryAfter = x.h.comeback.seconds(time.Now())
	}
	answer := r.answer(t)
	a.BytesOut = int64(len(answer.Body))
	if cause != nil || closes(err) {
		x.conn.CloseAfter()
	}
	x.settle()
	// If the client is gone too, there is nothing left to do.
	_ = x.conn.Answer(&answer, x.own(new(timingRoom)))
}

// timingRoom has room for the value of Server-Timing.
type timingRoom [96]byte

// own returns the fields that every answer to this request has.
func (x *exchange) own(room *timingRoom) front.Own {
	return front.Own{RequestID: x.account.ID, Timing: timing(room[:0], &x.account.Times)}
}

// spent reports whether the request spent its ticket: true from the moment that
// sending began, unless it turned out that nothing could be sent.
func (x *exchange) spent() bool { return !x.account.Times.Sent.IsZero() && !x.route.Open }

// final reports whether a retry with the same ticket can only be refused.
func (x *exchange) final(r refusal) bool {
	if x.open() {
		return false // there is none
	}
	if x.pass.InSession() {
		return r.status == http.StatusForbidden // otherwise the ticket is still good
	}
	return x.spent() || r.final()
}

// clientGone sets the outcome of a request whose client left or was cut because it
// read nothing. werr is the error of writing to it.
func (x *exchange) clientGone(werr error) {
	a := &x.account
	a.Outcome, a.Status = account.ClientGone, account.StatusClientGone
	if x.conn.Stalled() || errors.Is(werr, os.ErrDeadlineExceeded) {
		a.Outcome, a.Detail = account.ClientStalled, errSlowClient.Error()
	}
}

// closes reports whether a refusal closes the connection, because Usher does not know
// where the next request begins or how much of this one is still to come.
func closes(err error) bool {
	var fault *front.Fault
	return errors.As(err, &fault) || errors.Is(err, errDraining) || errors.Is(err, errCut) || errors.Is(err, errCutSent) ||
		errors.Is(err, front.ErrBodyTooLarge) || errors.Is(err, front.ErrBodyBudget) ||
		errors.Is(err, front.ErrBodyTimeout) || errors.Is(err, front.ErrBodyFraming)
}

// settle releases everything that the request holds and records it, exactly once.
func (x *exchange) settle() {
	if x.settled {
		return
	}
	x.settled = true
	// A panic below must not leave the drain waiting for this request.
	defer x.h.calls.remove(&x.call, !x.account.Outcome.Whole())
	release(x)
	x.account.Times.End = time.Now()
	x.h.book.Ended(&x.account)
}

// release releases what the request holds, in reverse order, and its slot even if there
// is a panic before that.
func release(x *exchange) {
	defer func() {
		x.pass.Release()
		if x.placed {
			x.h.routes.open.give()
		}
	}()
	x.conn.Unwatch()
	x.call.end()
	if x.line != nil {
		x.line.Release()
	}
	x.account.BytesIn = x.body.end()
}

// faults handles bugs in Usher (panics), which end a request but not the process.
type faults struct {
	log   *zap.Logger
	count func()
}

// recover is deferred by serve. It keeps a panic from ending the process, since
// fasthttp does not recover, and from leaking a slot.
func (f *faults) recover(x *exchange) {
	if fault := recover(); fault != nil {
		f.endCall(x, fault, debug.Stack())
		x.conn.CloseAfter()
		if x.conn.Answered() { // another answer would be taken for part of that one
			f.breakOff(x)
			return
		}
		x.refuse(errInternal)
	}
}

// breakOff ends a request after a panic in the middle of its answer. The client sees that
// the answer was broken off.
func (*faults) breakOff(x *exchange) {
	x.account.Outcome = account.Internal
	x.conn.Reset()
	x.settle()
}

// endCall notes a fault and ends the call of the request that ran into it.
func (f *faults) endCall(x *exchange, fault any, stack []byte) {
	f.note(fault, stack, zap.String("request_id", x.account.ID))
	x.cancel(errInternal)
}

// note counts a fault, and logs where it was.
func (f *faults) note(fault any, stack []byte, where ...zap.Field) {
	f.count()
	f.log.Error("internal fault", append(where, zap.String("fault", fmt.Sprint(fault)), zap.ByteString("stack", stack))...)
}
