package front

import (
	"cmp"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"runtime"
	"time"

	"github.com/usher-sidecar/usher/sidecar/hangup"
	"github.com/usher-sidecar/usher/sidecar/socket"
)

// A secureConn is a TLS connection.
type secureConn struct {
	*tls.Conn
	turn   *turnConn
	begun  bool // the handshake
	asks   bool // the client for a certificate
	sealed int  // see tryWrite
	first  [1]byte
}

// FillAhead waits for bytes with room for one, takes a buffer when it is here, and
// reads what came with it: a connection that idles holds none. See socket.Ahead.
func (s *secureConn) FillAhead(a *socket.Ahead) error {
	n, err := s.Conn.Read(s.first[:])
	if n == 0 {
		return cmp.Or(err, io.ErrNoProgress)
	}
	return a.Fill(arrived{s})
}

// fillBuffered fills a, which must be empty, with what crypto/tls has read already: no
// socket tells of that. Errors: errNothingHere, those of the connection.
func (s *secureConn) fillBuffered(a *socket.Ahead) error {
	s.turn.bufferedOnly = true
	n, err := s.Conn.Read(s.first[:])
	s.turn.bufferedOnly = false
	if n == 0 {
		return cmp.Or(err, io.ErrNoProgress)
	}
	return a.Fill(arrived{s})
}

// arrived reads what is here of a TLS connection, from the first byte on.
type arrived struct{ conn *secureConn }

// Read implements io.Reader, and does not wait.
func (r arrived) Read(p []byte) (int, error) {
	p[0] = r.conn.first[0]
	r.conn.turn.bufferedOnly = true
	n, _ := r.conn.Conn.Read(p[1:]) // a fault comes again with the next read
	r.conn.turn.bufferedOnly = false
	return 1 + n, nil
}

// errNothingHere ends a read that may not wait. It is one of those after which
// crypto/tls goes on where it was.
var errNothingHere net.Error = nothingHere{}

type nothingHere struct{}

func (nothingHere) Error() string   { return "nothing is here" }
func (nothingHere) Timeout() bool   { return true }
func (nothingHere) Temporary() bool { return true }

func newSecureConn(c net.Conn, watched *hangup.Conn, d *handshaker) *secureConn {
	turn := &turnConn{Conn: c, watched: watched, turns: d.turns}
	return &secureConn{Conn: tls.Server(turn, d.config), turn: turn, asks: d.config.ClientAuth != tls.NoClientCert}
}

// A turnConn is what a handshake reads and writes. It waits for the client outside
// of its turn, so that slow clients take none, and works only in it.
type turnConn struct {
	net.Conn
	watched      *hangup.Conn
	turns        *turns
	origin       func() netip.Addr // known when the first bytes are here
	deadline     time.Time
	holds        bool
	wrote        bool
	begunTurns   int    // turns since it wrote
	bufferedOnly bool   // a read may not wait
	noWait       bool   // nor may a write
	unsent       []byte // of what was written then
	ended        bool
}

// NetConn lets hangup.From look beneath.
func (t *turnConn) NetConn() net.Conn { return t.Conn }

// Read implements net.Conn. What was read is worked on in the connection's turn.
func (t *turnConn) Read(p []byte) (int, error) {
	if t.bufferedOnly {
		return 0, errNothingHere
	}
	if t.ended {
		return t.Conn.Read(p)
	}
	t.give()
	n, err := t.Conn.Read(p)
	if err != nil {
		return n, err
	}
	if err := t.take(); err != nil {
		return 0, err
	}
	t.holds = true
	if !t.wrote {
		runtime.Gosched() // behind all that is ready: a signature is long beside a token
	}
	if t.watched.Gone() { // while it waited: not worth a signature
		return 0, ErrGone
	}
	return n, nil
}

// maxBegunTurns is how many turns of a handshake go before those of others that have
// not begun. It needs no more than two, after a HelloRetryRequest; a client that
// sends in small pieces is not to have more than it needs.
const maxBegunTurns = 3

// take waits for a turn. A handshake that has not begun gives up when half of its
// time is over: the rest is for the client, and for the turns to come.
func (t *turnConn) take() error {
	if !t.wrote {
		now := time.Now()
		return t.turns.take(t.origin(), now.Add(t.deadline.Sub(now)/2), false)
	}
	t.begunTurns++
	return t.turns.take(t.origin(), t.deadline, t.begunTurns <= maxBegunTurns)
}

// Write implements net.Conn. The work is done by then, and the client may be slow.
func (t *turnConn) Write(p []byte) (int, error) {
	if !t.ended {
		t.give()
		t.wrote = true
	}
	return t.send(p)
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
