package status

import (
	"fmt"
	"strings"
)

// TLS describes how clients connect, if TLS is on.
type TLS struct {
	OK         bool              `json:"ok"`         // no handshake is waiting for its turn
	Text       string            `json:"text"`       // the rest in words
	Keys       []string          `json:"keys"`       // the types of the certificates' keys
	Waiting    int               `json:"waiting"`    // handshakes waiting for their turn
	Handshakes map[string]uint64 `json:"handshakes"` // since the start, by how they ended
}

// NewTLS makes a TLS, with its Text.
func NewTLS(keys []string, handshakes map[string]uint64, waiting int) *TLS {
	var failed uint64
	for outcome, n := range handshakes {
		if outcome != "full" && outcome != "resumed" {
			failed += n
		}
	}
	t := &TLS{OK: waiting == 0, Keys: keys, Waiting: waiting, Handshakes: handshakes}
	t.Text = fmt.Sprintf("%s; handshakes: %d full, %d resumed, %d failed", strings.Join(keys, " and "), handshakes["full"], handshakes["resumed"], failed)
	if waiting > 0 {
		t.Text += fmt.Sprintf(", %d waiting", waiting)
	}
	return t
}
