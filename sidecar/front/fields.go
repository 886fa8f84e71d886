package front

import "github.com/usher-sidecar/usher/sidecar/http1"

// A Field is a header field that the front knows.
type Field uint8

// The fields.
const (
	Authorization Field = iota
	Connection
	ContentEncoding
	ContentType
	Origin
	RequestID
	RequestedHeaders // Access-Control-Request-Headers
	PrivateNetwork   // Access-Control-Request-Private-Network
	Traceparent
	Tracestate
	contentLength
	expect
	host
	transferEncoding

	knownFields
)

// fieldNames are in lower case, by length, which tells most of them apart.
var fieldNames = [...][]struct {
	name  string
	field Field
}{
	4:  {{"host", host}},
	6:  {{"origin", Origin}, {"expect", expect}},
	10: {{"connection", Connection}, {"tracestate", Tracestate}},
	11: {{"traceparent", Traceparent}},
	12: {{"content-type", ContentType}, {"x-request-id", RequestID}},
	13: {{"authorization", Authorization}},
	14: {{"content-length", contentLength}},
	16: {{"content-encoding", ContentEncoding}},
	17: {{"transfer-encoding", transferEncoding}},
	30: {{"access-control-request-headers", RequestedHeaders}},
	38: {{"access-control-request-private-network", PrivateNetwork}},
}

// knownField looks up a name, in any case.
func knownField(name []byte) (Field, bool) {
	if len(name) >= len(fieldNames) {
		return 0, false
	}
	for _, known := range fieldNames[len(name)] {
		if http1.EqualFold(name, known.name) {
			return known.field, true
		}
	}
	return 0, false
}
