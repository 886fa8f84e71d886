// Package proxy finds out who the client is behind proxies that are trusted to
// say so: by the PROXY protocol, version 1 or 2, at the beginning of a
// connection, or by X-Forwarded-For at each request.
package proxy

import (
	"net"
	"net/netip"
	"strings"
)

// Trusted are the networks of proxies whose word is taken. The zero value trusts
// nobody.
type Trusted []netip.Prefix

// Has reports whether addr is a proxy's. An IPv4-mapped address counts as IPv4,
// and a zone does not count.
func (t Trusted) Has(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, prefix := range t {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// Client returns the last hop that is no proxy of ours: peer itself, or the first
// such address from the right in the lines of X-Forwarded-For. What stands left
// of it anybody may have written. Where an entry is no address, the proxy that
// wrote it stands for the client.
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
				continue // RFC 9110 section 5.6.1: empty elements are passed over
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

// parseHop reads an address that may have a port, and brackets.
func parseHop(text string) (netip.Addr, bool) {
	if strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
		text = text[1 : len(text)-1]
	} else if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	addr, err := netip.ParseAddr(text)
	return addr.Unmap().WithZone(""), err == nil
}
