package front

import "math/rand/v2"

// maxRequestID is how long a client's X-Request-Id may be.
const maxRequestID = 128

// ID returns the client's request id if it is harmless, or a new one.
func (h *Head) ID() string {
	if id := h.Only(RequestID); safeID(id) {
		return string(id)
	}
	return newRequestID()
}

func safeID(id []byte) bool {
	for _, c := range id {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '_', c == '.', c == ':', c == '/', c == '+', c == '=', c == '@', c == '~':
		default:
			return false
		}
	}
	return len(id) > 0 && len(id) <= maxRequestID
}

// newRequestID makes 128 random bits. They need not be unpredictable: an id names a
// request and guards nothing.
func newRequestID() string {
	const digits = "0123456789abcdef"
	var id [32]byte
	for i, bits := range [2]uint64{rand.Uint64(), rand.Uint64()} {
		for j := range 16 {
			id[16*i+j] = digits[bits&15]
			bits >>= 4
		}
	}
	return string(id[:])
}
