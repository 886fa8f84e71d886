package upstream

import "github.com/usher-sidecar/usher/sidecar/http1"

// isHopByHop reports whether a field must not be forwarded, even if Connection does not
// name it (RFC 9110 section 7.6.1): it is hop-by-hop, frames the message, or
// authenticates at a proxy. Proxy-Status (RFC 9209) is end-to-end and not one of them.
func isHopByHop(name []byte) bool {
	switch name[0] | 0x20 {
	case 'c':
		return http1.EqualFold(name, "connection")
	case 'k':
		return http1.EqualFold(name, "keep-alive")
	case 'p':
		return len(name) > 6 && http1.EqualFold(name[:6], "proxy-") && !http1.EqualFold(name, "proxy-status")
	case 't':
		return http1.EqualFold(name, "te") || http1.EqualFold(name, "trailer") || http1.EqualFold(name, "transfer-encoding")
	case 'u':
		return http1.EqualFold(name, "upgrade")
	case 'h':
		return http1.EqualFold(name, "http2-settings")
	}
	return false
}

// isOurs reports whether a client's field is replaced or dropped. Authorization is one:
// it holds the customer's key for the autoscaler.
func isOurs(name []byte) bool {
	switch name[0] | 0x20 {
	case 'a':
		return http1.EqualFold(name, "authorization")
	case 'c':
		return http1.EqualFold(name, "content-length")
	case 'e':
		return http1.EqualFold(name, "expect")
	case 'h':
		return http1.EqualFold(name, "host")
	case 'x':
		return http1.EqualFold(name, "x-request-id")
	}
	return false
}
