package upstream

import (
	"net"
	"sync"
	"time"

	"github.com/usher-sidecar/usher/sidecar/socket"
)

// A line is a socket to the model server, with the bytes read ahead on it. Only one
// goroutine at a time uses it, except for reset.
type line struct {
	nc    net.Conn
	sock  socket.Conn // reads and writes nc
	ahead socket.Ahead

	limit time.Duration // how long it may be idle; 0 or less: not at all
	until time.Time     // when it expires if idle; zero: it was not used yet
}

func newLine(nc net.Conn, buffers *sync.Pool) (*line, error) {
	l := &line{nc: nc, ahead: socket.NewAhead(buffers)}
	return l, l.sock.Init(nc)
}

// close closes the connection gracefully.
func (l *line) close() {
	l.ahead.Release()
	_ = l.nc.Close()
}

// reset ends the connection at once, from any goroutine. Over TCP it sends RST instead of
// FIN: a FIN may also mean that the client only half-closes, servers with much to write
// see it only at their next read, and those that see it may flush first. A reset fails
// their next read or write, whichever comes first, and discards what is in flight. A Unix
// socket can only be closed, which fails the server's writes as well.
//
// Close waits until a system call under way on this socket has returned. None of them
// blocks, and Close wakes those that wait for readiness.
func (l *line) reset() {
	if tcp, ok := l.nc.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = l.nc.Close()
}
