package sidecar

import "sync/atomic"

// runOpen forwards a request of an open route. Such requests have no ticket and do
// not go through the buffer, so they have a limit of their own.
func (x *exchange) runOpen() error {
	if !x.h.routes.open.take() {
		return errOpenFull
	}
	x.placed, x.waited = true, true
	resp, err := x.forward(nil)
	if err != nil {
		return err
	}
	relayAnswer(x, resp)
	return nil
}

// places limits how many requests of open routes are at the model server.
type places struct {
	limit int64
	taken atomic.Int64
}

// take takes a place, if there is one.
func (p *places) take() bool {
	if p.taken.Add(1) <= p.limit {
		return true
	}
	p.taken.Add(-1)
	return false
}

func (p *places) give() { p.taken.Add(-1) }
