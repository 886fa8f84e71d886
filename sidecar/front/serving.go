package front

import (
	"net/netip"
	"time"

	"github.com/valyala/fasthttp"
)

// A serving is a Conn while a request is served on it.
type serving Conn

// begin passes the connection to its handler. The error is why it must not be served.
func (c *serving) begin(ctx *fasthttp.RequestCtx) error {
	c.ctx = ctx
	// Makes fasthttp flush after each request, even if the next one has arrived, so that
	// it never holds back more than one response.
	_ = ctx.SetWriteDeadline(time.Now())
	return c.findClient()
}

// end ends the serving of a request, also if the handler panicked; a lent connection goes
// on.
func (c *serving) end() {
	if fault := recover(); fault != nil {
		c.server.panicked(fault)
		c.Reset()
	}
	if c.handOver != nil {
		c.ctx = nil
		return
	}
	c.finish()
}

// finish releases what belongs to the request.
func (c *serving) finish() {
	if (*Conn)(c).Closes() {
		c.CloseAfter()
	}
	c.stream = nil
	if c.state.last || c.guard.inBody() {
		c.Linger() // the client may be sending the rest, or its next request
	}
	if c.state.onBehalf {
		c.proxied.Count(netip.Addr{})
		c.state.onBehalf = false
	}
	c.Head.Release()
	c.ctx = nil
}
