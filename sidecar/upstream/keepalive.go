package upstream

import (
	"bytes"
	"time"

	"github.com/usher-sidecar/usher/sidecar/http1"
)

// heed reads how long the model server keeps an idle connection, as in "Keep-Alive:
// timeout=5, max=100" (RFC 2068 section 19.7.1.1). The connection is dropped a second
// before that, or after half the time if that is later, so that no request is sent while
// the server closes the connection.
func (l *line) heed(value []byte) {
	for parameter := range bytes.SplitSeq(value, []byte(",")) {
		parameter = http1.TrimBlanks(parameter)
		if !http1.HasPrefixFold(parameter, "timeout=") {
			continue
		}
		seconds, ok := http1.ParseLength(parameter[len("timeout="):])
		if !ok || seconds > int64(l.limit/time.Second)+1 {
			continue // no sooner than l.limit
		}
		said := time.Duration(seconds) * time.Second
		l.limit = min(l.limit, said-min(time.Second, said/2))
	}
}
