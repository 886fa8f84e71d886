package gate

import (
	"crypto/sha256"
	"encoding/binary"
	"math"

	"github.com/usher-sidecar/usher/envelope"
)

// A mark is what an id or a ticket is known by.
type mark [sha256.Size]byte

// nobody's ticket is compared with where there is no session.
var nobody mark

// markOf is what a ticket is compared by: endpoint, url, signature, number, and
// the cost by its value, since clients spell numbers in their own ways.
func markOf(t *envelope.Ticket) mark {
	b := make([]byte, 0, 1<<10)
	for _, field := range [...]string{t.Endpoint, t.URL, string(t.Signature)} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(field)))
		b = append(b, field...)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(t.Reqnum))
	return sha256.Sum256(binary.BigEndian.AppendUint64(b, math.Float64bits(t.Cost.Float64())))
}
