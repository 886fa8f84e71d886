package upstream

import (
	"bytes"

	"github.com/usher-sidecar/usher/sidecar/http1"
)

// AppendQuery appends "?" and query without its api_key parameters to dst, or nothing if
// no parameter is left. Clients send the customer's API key in api_key. The name is
// recognized in any percent-encoding, and also after a semicolon, which older servers
// take for a separator. It goes with the separator before it. All other bytes stay as
// they are.
func AppendQuery(dst, query []byte) []byte {
	mark := len(dst)
	var separator byte // before the parameter
	for more := len(query) > 0; more; {
		n := parameter(query)
		if !isAPIKey(query[:n]) {
			if len(dst) == mark {
				separator = '?'
			}
			dst = append(append(dst, separator), query[:n]...)
		}
		if more = n < len(query); more {
			separator, query = query[n], query[n+1:]
		}
	}
	if len(dst) == mark+1 {
		return dst[:mark]
	}
	return dst
}

// parameter returns the length of the first parameter of a query.
func parameter(query []byte) int {
	if n := bytes.IndexAny(query, "&;"); n >= 0 {
		return n
	}
	return len(query)
}

// isAPIKey reports whether the name of a parameter decodes to api_key. A '+' would decode
// to a space, and a malformed escape to itself; the name contains neither.
func isAPIKey(part []byte) bool {
	const name = "api_key"
	i := 0
	for i < len(name) && len(part) > 0 {
		c := part[0]
		if c == '%' {
			if len(part) < 3 || http1.HexValue(part[1]) < 0 || http1.HexValue(part[2]) < 0 {
				return false
			}
			c = byte(http1.HexValue(part[1])<<4 | http1.HexValue(part[2]))
			part = part[2:]
		}
		if c != name[i] {
			return false
		}
		part = part[1:]
		i++
	}
	return i == len(name) && (len(part) == 0 || part[0] == '=')
}
