package front

import (
	"bytes"
	"slices"
	"strings"
)

// A CORS answers browsers (the Fetch standard's CORS protocol) for the origins that the
// operator allowed. The zero value allows none.
type CORS struct {
	any     bool
	origins []string
	below   []subdomains
}

// subdomains is a pattern of origins like "https://*.example.com:8443".
type subdomains struct{ before, after string } // "https://", ".example.com:8443"

// NewCORS allows origins; "*" stands for all, and "*." before a domain for one or more
// labels.
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

// has reports whether the origin is one or more labels in front of the domain.
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

// isPreflight reports whether CORS answers the request by itself.
func (c *CORS) isPreflight(h *Head) bool { return c.Enabled() && h.Is("OPTIONS") }

// preflight answers an OPTIONS request, before any check. methods are those of its path;
// if the path is not a route it names POST, so that a page can read the refusal.
func (c *CORS) preflight(h *Head, methods string) Answer {
	if methods == "" {
		methods = "POST"
	}
	fields := []byte("Allow: " + methods + ", OPTIONS\r\n")
	if c.allowed(h.Value(Origin)) != "" {
		fields = append(fields, "Access-Control-Allow-Methods: "+methods+", OPTIONS\r\nAccess-Control-Max-Age: 600\r\n"...)
		// A wildcard would not cover Authorization, so the requested names are
		// echoed. None of them grants anything; the ticket does.
		if asked := h.Value(RequestedHeaders); len(asked) > 0 {
			fields = append(append(append(fields, "Access-Control-Allow-Headers: "...), asked...), "\r\nVary: Access-Control-Request-Headers\r\n"...)
		}
		// A page of a public network that calls a private one (Private Network Access):
		// an allowed origin may, wherever the worker is.
		if string(h.Value(PrivateNetwork)) == "true" {
			fields = append(fields, "Access-Control-Allow-Private-Network: true\r\n"...)
		}
	}
	return Answer{Status: 204, Fields: fields}
}

// corsExposed are the response headers of Usher's that a page's script may read.
const corsExposed = "X-Request-Id, X-Usher-Refusal, X-Should-Retry, Retry-After, Server-Timing"

// appendFields appends the CORS fields of an answer to a page of the origin. The model
// server's own must have been left out, so that none appears twice; varies reports
// whether the answer already says that it depends on the origin. relayed are the lines of
// its other fields, which may be read as well.
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

// allowed returns the value of Access-Control-Allow-Origin for an origin; "" if it may
// not read the answer.
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
