package envelope

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// An Audience is whom tickets have to be for: this worker. It is immutable; make
// it with NewAudience.
type Audience struct {
	endpoints []string
	urls      []string // as they were given
	canonical []string
}

// NewAudience takes the endpoint groups and public addresses of this worker. No
// address at all accepts any. An address that is none is an error.
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

// Check reports whether the ticket is for this worker. Addresses are compared as
// URLs: case of scheme and host, a default port and one slash at the end do not
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

// canonicalURL writes an address in the one way in which it is compared.
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
	// What else stands in it has to be equal; only the slash may be missing.
	rest := *u
	rest.Scheme, rest.Host = "", ""
	rest.Path = strings.TrimSuffix(u.Path, "/")
	rest.RawPath = strings.TrimSuffix(u.RawPath, "/")
	return scheme + "\x00" + host + "\x00" + port + "\x00" + rest.String(), true
}
