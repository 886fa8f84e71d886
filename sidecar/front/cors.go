package front

import (
	"bytes"
	"slices"
	"strings"
)

// A CORS answers browsers (the Fetch standard's CORS protocol) for the origins
// the operator allowed. The zero value allows none.
type CORS struct {
	any     bool
	origins []string
	below   []subdomains
}

// subdomains are the origins that "https://*.example.com:8443" allows.
type subdomains struct{ before, after string } // "https://", ".example.com:8443"

// NewCORS allows origins; "*" stands for all, and "*." before a domain for one
// label or more.
func NewCORS(origins []string) (c CORS) {
	if slices.Contains(origins, "*") {
		return CORS{any: true}
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

// Enabled reports whether any origin is allowed.
func (c *CORS) Enabled() bool { return c.any || len(c.origins)+len(c.below) > 0 }

// isPreflight reports whether the request is one that CORS answers by itself.
func (c *CORS) isPreflight(h *Head) bool { return c.Enabled() && h.Is("OPTIONS") }

// preflight answers an OPTIONS request, before any check. methods are those of
// its path; of one that is no route, POST is said, so that a page gets to read why.
func (c *CORS) preflight(h *Head, methods string) Answer {
	if methods == "" {
		methods = "POST"
	}
	fields := []byte("Allow: " + methods + ", OPTIONS\r\n")
	if c.allowed(h.Value(Origin)) != "" {
		fields = append(fields, "Access-Control-Allow-Methods: "+methods+", OPTIONS\r\nAccess-Control-Max-Age: 600\r\n"...)
		// A wildcard would not cover Authorization, so the names asked for are
		// given back; none of them opens anything, the ticket does.
		if asked := h.Value(RequestedHeaders); len(asked) > 0 {
			fields = append(append(append(fields, "Access-Control-Allow-Headers: "...), asked...), "\r\nVary: Access-Control-Request-Headers\r\n"...)
		}
		// A page of a public network that calls a private one (Private Network Access):
		// whoever is listed may, wherever the worker stands.
		if string(h.Value(PrivateNetwork)) == "true" {
			fields = append(fields, "Access-Control-Allow-Private-Network: true\r\n"...)
		}
	}
	return Answer{Status: 204, Fields: fields}
}

// corsExposed are the response headers of ours that a page's script may read.
const corsExposed = "X-Request-Id, X-Usher-Refusal, X-Should-Retry, Retry-After, Server-Timing"

// appendFields appends the fields of an answer to a page of the origin. The model
// server's own must have been left out of the answer, so that none stands twice;
// varies reports that it has said already that the answer depends on the origin.
// relayed are the lines of its other fields: they may be read as well.
func (c *CORS) appendFields(dst, origin, relayed []byte, varies bool) []byte {
	if !c.Enabled() {
		return dst
	}
	if !c.any && !varies {
		dst = append(dst, "Vary: Origin\r\n"...)
	}
	if allowed := c.allowed(origin); allowed != "" {
		dst = append(dst, "Access-Control-Allow-Origin: "+allowed+"\r\nAccess-Control-Expose-Headers: "+corsExposed...)
		for line := range bytes.Lines(relayed) {
			name, _, _ := bytes.Cut(line, []byte(":"))
			dst = append(append(dst, ", "...), name...)
		}
		dst = append(dst, "\r\n"...)
	}
	return dst
}

// allowed is the value of Access-Control-Allow-Origin for an origin; empty when
// it may not read the answer.
func (c *CORS) allowed(origin []byte) string {
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
