package front

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/usher-sidecar/usher/sidecar/hangup"
)

// A Handshake is how a TLS handshake ended.
type Handshake int

// The ends of a handshake.
const (
	HandshakeFull       Handshake = iota // done, with a signature
	HandshakeResumed                     // done, by a session ticket
	HandshakeGone                        // the client broke off
	HandshakeTimeout                     // not done in time
	HandshakeCrowded                     // too many were waiting for their turn
	HandshakePlaintext                   // HTTP, or a PROXY header, instead of TLS
	HandshakeRejected                    // the client sent an alert; usually it does not trust the certificate
	HandshakeUnverified                  // the client showed no certificate from the authorities
	HandshakeFailed                      // nothing in common (version, suite, ALPN), or no TLS
	handshakes
)

var handshakeNames = [handshakes]string{
	"full", "resumed", "gone", "timeout", "crowded", "plaintext", "rejected", "unverified", "failed",
}

// String returns the label of the metric.
func (h Handshake) String() string { return handshakeNames[h] }

// A handshaker makes a server's handshakes.
type handshaker struct {
	config  *tls.Config // nil: connections are plain
	timeout time.Duration
	turns   *turns
	crew    crew
	counts  [handshakes]atomic.Uint64
}

// Handshakes counts TLS handshakes by how they ended.
func (s *Server) Handshakes() map[string]uint64 {
	counts := make(map[string]uint64, handshakes)
	for h := range handshakes {
		counts[h.String()] = s.handshaker.counts[h].Load()
	}
	return counts
}

// HandshakesWaiting returns how many TLS handshakes wait for their turn.
func (s *Server) HandshakesWaiting() int { return s.handshaker.turns.count() }

// shakeHands makes the handshake of a TLS connection, once, within its own time limit. It
// answers clients that speak plain text, and counts how the handshake ended.
func (c *wire) shakeHands() error {
	s, ok := c.Conn.(*secureConn)
	if !ok || s.begun {
		return nil
	}
	s.begun = true
	d := &c.server.handshaker
	s.turn.deadline = time.Now().Add(d.timeout)
	_ = c.watched.SetDeadline(s.turn.deadline)
	s.turn.origin = func() netip.Addr { return hangup.OriginOf(sourceOf((*Conn)(c))) }
	err := d.crew.shake(s)
	s.turn.end()
	d.counts[s.ended(err)].Add(1)
	if err != nil {
		if fault := plaintextFault(err); fault != nil {
			answerPlaintext((*Conn)(c), fault)
		}
		return err
	}
	_ = c.watched.SetWriteDeadline(time.Time{})
	return c.watched.SetReadDeadline(time.Now().Add(c.server.o.ReadTimeout))
}

// ended returns how a handshake that returned err has ended.
func (s *secureConn) ended(err error) Handshake {
	var (
		network *net.OpError
		broken  tls.RecordHeaderError
	)
	switch {
	case err == nil && s.ConnectionState().DidResume:
		return HandshakeResumed
	case err == nil:
		return HandshakeFull
	case errors.Is(err, errNoTurn):
		return HandshakeCrowded
	case errors.Is(err, errTurnLate), errors.Is(err, os.ErrDeadlineExceeded):
		return HandshakeTimeout
	case plaintextFault(err) != nil:
		return HandshakePlaintext
	case errors.As(err, &network) && network.Op == "remote error":
		return HandshakeRejected
	case errors.As(err, &network) && network.Op == "local error", errors.As(err, &broken):
		return HandshakeFailed
	case isBreak(err), errors.Is(err, ErrGone):
		return HandshakeGone
	case s.asks && s.turn.wrote: // the client had accepted everything before its certificate
		return HandshakeUnverified
	}
	return HandshakeFailed
}
