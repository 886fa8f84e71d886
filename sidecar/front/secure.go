package front

import (
	"cmp"
	"crypto/tls"
	"errors"
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
	begun  bool // the handshake has begun
	asks   bool // it asks the client for a certificate
	sealed int  // bytes that TryWrite sealed and has not reported as taken
	first  [1]byte
}

// FillAhead waits with room for one byte, takes a buffer once that has arrived, and reads
// what came with it, so that an idle connection holds no buffer. See socket.Ahead.
func (s *secureConn) FillAhead(a *socket.Ahead) error {
	n, err := s.Conn.Read(s.first[:])
	if n == 0 {
		return cmp.Or(err, io.ErrNoProgress)
	}
	return a.Fill(arrived{s})
}

// tryFill reads once into a, which must be empty, without waiting: bytes that crypto/tls
// has read already, of which no event of the socket tells, or what has arrived. If
// crypto/tls answers with an alert or a KeyUpdate and the socket takes no more, that is
// kept until the next flush. Errors: socket.ErrWouldWait, errUnreadReplies, those of the
// connection.
func (s *secureConn) tryFill(a *socket.Ahead) error {
	s.turn.noWait = true
	defer func() { s.turn.noWait = false }() // after both reads: either may write
	n, err := s.Conn.Read(s.first[:])
	if n > 0 {
		err = a.Fill(arrived{s})
	}
	switch {
	case len(s.turn.unsent) > mostReplies:
		return errUnreadReplies
	case n > 0:
		return err
	case errors.Is(err, errNothingHere):
		return socket.ErrWouldWait
	}
	return cmp.Or(err, io.ErrNoProgress)
}

// mostReplies is how many bytes of replies to KeyUpdates, of some 30 bytes each, are kept
// for a client that does not read them. crypto/tls allows 16 KeyUpdates in a row, but any
// number with empty lines in between.
const mostReplies = 4 << 10

// errUnreadReplies ends a connection whose client asks for replies and does not read them.
var errUnreadReplies = errors.New("the client does not read replies to KeyUpdates")

// arrived reads the available bytes of a TLS connection, beginning with first.
type arrived struct{ conn *secureConn }

// Read implements io.Reader, and does not wait.
func (r arrived) Read(p []byte) (int, error) {
	p[0] = r.conn.first[0]
	r.conn.turn.bufferedOnly = true
	n, _ := r.conn.Conn.Read(p[1:]) // the next read returns the error again
	r.conn.turn.bufferedOnly = false
	return 1 + n, nil
}

// errNothingHere ends a read that must not wait. After a temporary error like this
// crypto/tls can read on.
var errNothingHere net.Error = nothingHere{}

type nothingHere struct{}

func (nothingHere) Error() string   { return "nothing is here" }
func (nothingHere) Timeout() bool   { return true }
func (nothingHere) Temporary() bool { return true }

func newSecureConn(c net.Conn, watched *hangup.Conn, d *handshaker) *secureConn {
	turn := &turnConn{Conn: c, watched: watched, turns: d.turns}
	return &secureConn{Conn: tls.Server(turn, d.config), turn: turn, asks: d.config.ClientAuth != tls.NoClientCert}
}

// A turnConn is what a handshake reads from and writes to. The handshake computes only in
// its turn, and waits for the client outside of it, so that slow clients take no turns.
type turnConn struct {
	net.Conn
	watched      *hangup.Conn
	turns        *turns
	origin       func() netip.Addr // known once the first bytes have arrived
	deadline     time.Time
	holds        bool   // it has its turn
	wrote        bool   // to the client: the handshake has begun
	begunTurns   int    // turns taken since it wrote
	bufferedOnly bool   // Read fails: crypto/tls is to use what it has
	noWait       bool   // neither Read nor Write may wait
	unsent       []byte // what the socket did not take then
	ended        bool   // the handshake has ended
}

// NetConn lets hangup.From look beneath.
func (t *turnConn) NetConn() net.Conn { return t.Conn }

// Read implements net.Conn. It returns in the connection's turn, in which the handshake
// works on the bytes.
func (t *turnConn) Read(p []byte) (int, error) {
	if t.bufferedOnly {
		return 0, errNothingHere
	}
	if t.noWait {
		n, err := t.watched.TryRead(p)
		if errors.Is(err, socket.ErrWouldWait) {
			err = errNothingHere
		}
		return n, err
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
		runtime.Gosched() // let others go first: a signature takes long, compared with a token
	}
	if t.watched.Gone() { // it left while waiting: not worth a signature
		return 0, ErrGone
	}
	return n, nil
}

// maxBegunTurns is how many turns of a handshake that has begun have priority over those
// of handshakes that have not. It needs at most two, after a HelloRetryRequest; a client
// that sends in small pieces must not get more than it needs.
const maxBegunTurns = 3

// take waits for a turn. A handshake that has not begun gives up when half of its time
// has passed: the other half is for the client, and for later turns.
func (t *turnConn) take() error {
	if !t.wrote {
		now := time.Now()
		return t.turns.take(t.origin(), now.Add(t.deadline.Sub(now)/2), false)
	}
	t.begunTurns++
	return t.turns.take(t.origin(), t.deadline, t.begunTurns <= maxBegunTurns)
}

// Write implements net.Conn. It ends the turn, because the work is done and the client
// may be slow.
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

// end ends the handshake: the connection takes no more turns.
func (t *turnConn) end() {
	t.give()
	t.ended = true
}
