package gate

import (
	"crypto/sha256"
	"encoding/binary"
	"math"

	"github.com/usher-sidecar/usher/envelope"
)

// A mark is the hash that is kept in place of an id or a ticket.
type mark [sha256.Size]byte

// nobody is compared with a ticket when there is no session.
var nobody mark

// markOf returns the mark of a ticket: of endpoint, url, signature and number, and
// of the cost by its value, because clients re-serialise numbers.
func markOf(t *envelope.Ticket) mark {
	b := make([]byte, 0, 1<<10)
	for _, field := range [...]string{t.Endpoint, t.URL, string(t.Signature)} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(field)))
		b = append(b, field...)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(t.Reqnum))
	return sha256.Sum256(binary.BigEndian.AppendUint64(b, math.Float64bits(t.Cost.Float64())))
}
