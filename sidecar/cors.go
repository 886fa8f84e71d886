package sidecar

import (
	"slices"

	"github.com/valyala/fasthttp"
)

// cors answers browsers (the Fetch standard's CORS protocol) for the origins
// the operator allowed. The zero value allows none.
type cors struct {
	any     bool
	origins []string
}

func newCORS(origins []string) cors {
	if slices.Contains(origins, "*") {
		return cors{any: true}
	}
	return cors{origins: origins}
}

func (c *cors) enabled() bool { return c.any || len(c.origins) > 0 }

// isPreflight tells whether the request is one that cors answers by itself.
func (c *cors) isPreflight(h *fasthttp.RequestHeader) bool { return c.enabled() && h.IsOptions() }

// preflight answers an OPTIONS request, before any check.
func (c *cors) preflight(ctx *fasthttp.RequestCtx) {
	ctx.SetStatusCode(fasthttp.StatusNoContent)
	h := &ctx.Response.Header
	h.Set(fasthttp.HeaderAllow, "POST, OPTIONS")
	if !c.annotate(&ctx.Request.Header, h) {
		return
	}
	h.Set(fasthttp.HeaderAccessControlAllowMethods, "POST, OPTIONS")
	// A wildcard would not cover Authorization, so the names asked for are
	// given back; none of them opens anything, the ticket does.
	if asked := ctx.Request.Header.Peek(fasthttp.HeaderAccessControlRequestHeaders); len(asked) > 0 {
		h.SetBytesV(fasthttp.HeaderAccessControlAllowHeaders, asked)
		h.Add(fasthttp.HeaderVary, fasthttp.HeaderAccessControlRequestHeaders)
	}
	h.Set(fasthttp.HeaderAccessControlMaxAge, "600")
}

// corsExposed are the response headers that a page's script may read.
const corsExposed = "X-Request-Id, X-Usher-Refusal, X-Should-Retry, Retry-After, Server-Timing"

// annotate puts the fields of an actual response on h. It reports whether the
// origin may read the answer.
func (c *cors) annotate(request *fasthttp.RequestHeader, h *fasthttp.ResponseHeader) bool {
	allowed := c.allowed(request.Peek(fasthttp.HeaderOrigin))
	if c.enabled() && !c.any {
		h.Add(fasthttp.HeaderVary, fasthttp.HeaderOrigin)
	}
	if allowed == "" {
		return false
	}
	h.Set(fasthttp.HeaderAccessControlAllowOrigin, allowed)
	h.Set(fasthttp.HeaderAccessControlExposeHeaders, corsExposed)
	return true
}

// appendFields is annotate for a head that is written by hand. The model
// server's own fields must have been left out of it, so that none stands twice;
// varies tells that it has said already that the answer depends on the origin.
func (c *cors) appendFields(dst, origin []byte, varies bool) []byte {
	if !c.enabled() {
		return dst
	}
	if !c.any && !varies {
		dst = append(dst, "Vary: Origin\r\n"...)
	}
	if allowed := c.allowed(origin); allowed != "" {
		dst = append(dst, "Access-Control-Allow-Origin: "+allowed+"\r\nAccess-Control-Expose-Headers: "+corsExposed+"\r\n"...)
	}
	return dst
}

// allowed is the value of Access-Control-Allow-Origin for an origin; empty when
// it may not read the answer.
func (c *cors) allowed(origin []byte) string {
	if c.any {
		return "*"
	}
	if i := slices.Index(c.origins, string(origin)); i >= 0 {
		return c.origins[i]
	}
	return ""
}
