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
	HandshakePlaintext                   // HTTP, or a PROXY header, in the place of TLS
	HandshakeRejected                    // the client sent an alert: it does not trust the certificate, mostly
	HandshakeUnverified                  // the client showed no certificate of the authorities
	HandshakeFailed                      // nothing in common (version, suite, ALPN), or no TLS
	handshakes
)

var handshakeNames = [handshakes]string{
	"full", "resumed", "gone", "timeout", "crowded", "plaintext", "rejected", "unverified", "failed",
}

// String is the label of the metric.
func (h Handshake) String() string { return handshakeNames[h] }

// A desk is where a server's handshakes are made.
type desk struct {
	config  *tls.Config // nil: connections are plain
	timeout time.Duration
	turns   *turns
	counts  [handshakes]atomic.Uint64
}

// Handshakes counts how TLS handshakes ended, by the name of their end.
func (s *Server) Handshakes() map[string]uint64 {
	counts := make(map[string]uint64, handshakes)
	for h := range handshakes {
		counts[h.String()] = s.desk.counts[h].Load()
	}
	return counts
}

// HandshakesWaiting is how many TLS handshakes wait for their turn.
func (s *Server) HandshakesWaiting() int { return s.desk.turns.count() }

// A secureConn is a TLS connection.
type secureConn struct {
	*tls.Conn
	turn  *turnConn
	begun bool // the handshake
	asks  bool // the client for a certificate
}

func newSecureConn(c net.Conn, watched *hangup.Conn, d *desk) *secureConn {
	turn := &turnConn{Conn: c, watched: watched, turns: d.turns}
	return &secureConn{Conn: tls.Server(turn, d.config), turn: turn, asks: d.config.ClientAuth != tls.NoClientCert}
}

// shakeHands makes the handshake of a TLS connection, once, in its own time. It
// answers what speaks plain text, and counts how it ended.
func (c *Conn) shakeHands() error {
	s, ok := c.Conn.(*secureConn)
	if !ok || s.begun {
		return nil
	}
	s.begun = true
	d := &c.server.desk
	s.turn.deadline = time.Now().Add(d.timeout)
	_ = c.watched.SetDeadline(s.turn.deadline)
	s.turn.origin = func() netip.Addr { return hangup.OriginOf(c.source()) }
	err := s.Handshake()
	s.turn.end()
	d.counts[s.ended(err)].Add(1)
	if err != nil {
		if fault := plaintextFault(err); fault != nil {
			c.answerPlaintext(fault)
		}
		return err
	}
	_ = c.watched.SetWriteDeadline(time.Time{})
	return c.watched.SetReadDeadline(time.Now().Add(c.server.o.ReadTimeout))
}

// ended tells how a handshake ended by its error.
func (s *secureConn) ended(err error) Handshake {
	var network *net.OpError
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
	case errors.As(err, &network) && network.Op == "local error":
		return HandshakeFailed
	case isBreak(err), errors.Is(err, ErrGone):
		return HandshakeGone
	case s.asks && s.turn.wrote: // it has taken all that came before
		return HandshakeUnverified
	}
	return HandshakeFailed
}

// A turnConn is what a handshake reads and writes. It waits for the client outside
// of its turn, so that slow clients take none, and works only in it.
type turnConn struct {
	net.Conn
	watched  *hangup.Conn
	turns    *turns
	origin   func() netip.Addr // known when the first bytes are here
	deadline time.Time
	holds    bool
	wrote    bool
	ended    bool
}

// NetConn lets hangup.From look beneath.
func (t *turnConn) NetConn() net.Conn { return t.Conn }

// Read implements net.Conn. What was read is worked on in the connection's turn.
func (t *turnConn) Read(p []byte) (int, error) {
	if t.ended {
		return t.Conn.Read(p)
	}
	t.give()
	n, err := t.Conn.Read(p)
	if err != nil {
		return n, err
	}
	if err := t.turns.take(t.origin(), t.deadline); err != nil {
		return 0, err
	}
	t.holds = true
	if t.watched.Gone() { // while it waited: not worth a signature
		return 0, ErrGone
	}
	return n, nil
}

// Write implements net.Conn. The work is done by then, and the client may be slow.
func (t *turnConn) Write(p []byte) (int, error) {
	if !t.ended {
		t.give()
		t.wrote = true
	}
	return t.Conn.Write(p)
}

func (t *turnConn) give() {
	if t.holds {
		t.holds = false
		t.turns.give()
	}
}

// end has the connection take no more turns.
func (t *turnConn) end() {
	t.give()
	t.ended = true
}
