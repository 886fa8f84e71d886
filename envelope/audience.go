package envelope

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// An Audience is the endpoint groups and addresses of this worker, one of which
// each ticket must name. It is immutable; make it with NewAudience.
type Audience struct {
	endpoints []string
	urls      []string // as given
	canonical []string // the same, by canonicalURL
}

// NewAudience takes the endpoint groups and public addresses of this worker. With
// no addresses, tickets for any address are accepted. An address that does not
// parse as an absolute URL is an error.
func NewAudience(endpoints, workerURLs []string) (Audience, error) {
	a := Audience{endpoints: endpoints, urls: workerURLs}
	for _, u := range workerURLs {
		c, ok := canonicalURL(u)
		if !ok {
			return Audience{}, fmt.Errorf("envelope: %q is not a worker's address", u)
		}
		a.canonical = append(a.canonical, c)
	}
	return a, nil
}

// Check returns nil if the ticket is for this worker. Addresses are compared as
// URLs: the case of scheme and host, a default port and a trailing slash do not
// matter (RFC 3986 section 6.2). Errors: ErrEndpointMismatch, ErrURLMismatch.
func (a *Audience) Check(t *Ticket) error {
	if !slices.Contains(a.endpoints, t.Endpoint) {
		return ErrEndpointMismatch
	}
	if len(a.urls) == 0 || slices.Contains(a.urls, t.URL) {
		return nil
	}
	if c, ok := canonicalURL(t.URL); ok && slices.Contains(a.canonical, c) {
		return nil
	}
	return ErrURLMismatch
}

// canonicalURL returns the form in which addresses are compared.
func canonicalURL(address string) (string, bool) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Opaque != "" {
		return "", false
	}
	scheme, host, port := strings.ToLower(u.Scheme), strings.ToLower(u.Hostname()), u.Port()
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.String()
	}
	if port == "" || scheme == "http" && port == "80" || scheme == "https" && port == "443" {
		port = ""
	}
	// Everything else must match exactly, except for a trailing slash.
	rest := *u
	rest.Scheme, rest.Host = "", ""
	rest.Path = strings.TrimSuffix(u.Path, "/")
	rest.RawPath = strings.TrimSuffix(u.RawPath, "/")
	return scheme + "\x00" + host + "\x00" + port + "\x00" + rest.String(), true
}
