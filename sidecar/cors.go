package sidecar

import (
	"slices"
	"strings"

	"github.com/valyala/fasthttp"
)

// cors answers browsers (the Fetch standard's CORS protocol) for the origins
// the operator allowed. The zero value allows none.
type cors struct {
	any     bool
	origins []string
	below   []subdomains
}

// subdomains are the origins that "https://*.example.com:8443" allows.
type subdomains struct{ before, after string } // "https://", ".example.com:8443"

func newCORS(origins []string) (c cors) {
	if slices.Contains(origins, "*") {
		return cors{any: true}
	}
	for _, origin := range origins {
		if before, after, wild := strings.Cut(origin, "*"); wild {
			c.below = append(c.below, subdomains{before, after})
		} else {
			c.origins = append(c.origins, origin)
		}
	}
	return c
}

// has reports whether one label or more stands before the domain.
func (s subdomains) has(origin string) bool {
	rest, ok := strings.CutPrefix(origin, s.before)
	if !ok {
		return false
	}
	if rest, ok = strings.CutSuffix(rest, s.after); !ok {
		return false
	}
	for label := range strings.SplitSeq(rest, ".") {
		if len(label) == 0 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

func (c *cors) enabled() bool { return c.any || len(c.origins)+len(c.below) > 0 }

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
	// A page of a public network that calls a private one (Private Network Access):
	// whoever is listed may, wherever the worker stands.
	if string(ctx.Request.Header.Peek("Access-Control-Request-Private-Network")) == "true" {
		h.Set("Access-Control-Allow-Private-Network", "true")
	}
	h.Set(fasthttp.HeaderAccessControlMaxAge, "600")
}

// corsExposed are the response headers of ours that a page's script may read.
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
// varies tells that it has said already that the answer depends on the origin, and
// others are the names of its other fields, each with ", " before it: they may be
// read as well.
func (c *cors) appendFields(dst, origin []byte, varies bool, others []byte) []byte {
	if !c.enabled() {
		return dst
	}
	if !c.any && !varies {
		dst = append(dst, "Vary: Origin\r\n"...)
	}
	if allowed := c.allowed(origin); allowed != "" {
		dst = append(dst, "Access-Control-Allow-Origin: "+allowed+"\r\nAccess-Control-Expose-Headers: "+corsExposed...)
		dst = append(append(dst, others...), "\r\n"...)
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
	for _, s := range c.below {
		if s.has(string(origin)) {
			return string(origin)
		}
	}
	return ""
}
