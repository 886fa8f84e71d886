// Package proxy finds the address of a client behind trusted proxies: from the PROXY
// protocol, version 1 or 2, at the beginning of a connection, or from X-Forwarded-For in
// each request.
package proxy

import (
	"net"
	"net/netip"
	"strings"
)

// Trusted lists the networks of trusted proxies. The zero value trusts nobody.
type Trusted []netip.Prefix

// Has reports whether addr is that of a trusted proxy. An IPv4-mapped address counts as
// IPv4, and the zone is ignored.
func (t Trusted) Has(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, prefix := range t {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// Client returns the last hop that is not a trusted proxy: peer itself, or the first
// such address from the right in the lines of X-Forwarded-For. Anybody may have written
// what is to the left of it. If an entry is not an address, the proxy that wrote it
// counts as the client.
func (t Trusted) Client(peer netip.Addr, forwardedFor [][]byte) netip.Addr {
	for i := len(forwardedFor) - 1; i >= 0; i-- {
		line := string(forwardedFor[i])
		for more := true; more; {
			if !t.Has(peer) {
				return peer
			}
			var entry string
			comma := strings.LastIndexByte(line, ',')
			entry, more = strings.TrimSpace(line[comma+1:]), comma >= 0
			line = line[:max(comma, 0)]
			if entry == "" {
				continue // RFC 9110 section 5.6.1: empty elements are ignored
			}
			addr, ok := parseHop(entry)
			if !ok {
				return peer
			}
			peer = addr
		}
	}
	return peer
}

// parseHop reads an address that may have a port and brackets.
func parseHop(text string) (netip.Addr, bool) {
	if strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
		text = text[1 : len(text)-1]
	} else if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	addr, err := netip.ParseAddr(text)
	return addr.Unmap().WithZone(""), err == nil
}
