package hangup

import (
	"errors"
	"net"

	"github.com/usher-sidecar/usher/sidecar/socket"
)

// traffic is what a Conn reads and writes. Bytes from the client end its idleness.
type traffic struct {
	*net.TCPConn
	sock socket.Conn
	idle idle
}

// Read reads what has arrived, and waits if nothing has.
func (t *traffic) Read(p []byte) (int, error) { return t.idle.woke(t.sock.Read(p)) }

// FillAhead is Read without a buffer while it waits; see socket.Conn.
func (t *traffic) FillAhead(a *socket.Ahead) error {
	err := t.sock.FillAhead(a)
	if _, err = t.idle.woke(len(a.Bytes()), err); err != nil {
		a.Release()
	}
	return err
}

// TryFill is FillAhead without waiting; see socket.Conn. Call it only if CanTry.
func (t *traffic) TryFill(a *socket.Ahead) error {
	_, err := t.sock.TryFill(a)
	if errors.Is(err, socket.ErrWouldWait) {
		return err
	}
	if _, err = t.idle.woke(len(a.Bytes()), err); err != nil {
		a.Release()
	}
	return err
}

// TryRead is Read without waiting; see socket.Conn. CanTry must be true.
func (t *traffic) TryRead(p []byte) (int, error) {
	n, err := t.sock.TryRead(p)
	if errors.Is(err, socket.ErrWouldWait) {
		return 0, err
	}
	return t.idle.woke(n, err)
}

// Write writes all of p, unless it fails.
func (t *traffic) Write(p []byte) (int, error) { return t.sock.Write(p) }

// CanTry reports whether TryFill and TryWrite work.
func (t *traffic) CanTry() bool { return t.sock.CanTry() }

// TryWrite writes what the client's socket takes of p at once; see socket.Conn.
func (t *traffic) TryWrite(p []byte) (int, error) { return t.sock.TryWrite(p, nil) }

// Control lends the descriptor to f; see socket.Conn.
func (t *traffic) Control(f func(fd uintptr)) error { return t.sock.Control(f) }

// silent reports whether nothing unread has arrived; true also if that cannot be found
// out. It is for one goroutine at a time.
func silent(sock *socket.Conn) bool {
	silent, known := sock.Silent()
	return silent || !known
}
