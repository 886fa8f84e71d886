package front

import (
	"net"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/usher-sidecar/usher/sidecar/hangup"
)

// A link is what an answer goes out on: who watches it, and how it ends.
type link struct {
	net.Conn
	watched *hangup.Conn
	ctx     *fasthttp.RequestCtx // while fasthttp serves a request; otherwise nil
	state   connState
}

// connState is the state of a connection between reading a head and answering it.
type connState struct {
	passed    int   // bytes ahead that fasthttp may read: of a head, passed by the guard
	failed    error // the error of reading a head; errMalformedWire: from the guard
	whole     bool  // the whole head was read
	spoke     bool  // something was read from the client
	answered  bool  // the answer was begun
	closes    bool  // the connection ends with the answer
	last      bool  // because all connections end with their next answer
	onBehalf  bool  // the connection counts under a client that a proxy named
	shared    bool  // it is a proxy's connection, not to be closed because of one client
	continued bool  // "100 Continue" was sent

	restsUntil time.Time // how long it may wait in the loop for its next request
}

// Answered reports whether the answer was begun.
func (l *link) Answered() bool { return l.state.answered }

// Stalled reports whether the connection was cut because the client took nothing.
func (l *link) Stalled() bool { return l.watched.Stalled() }

// Watch has call told when the client leaves; see hangup.Conn.
func (l *link) Watch(call hangup.Call) { l.watched.Watch(call) }

// Unwatch ends the watching; see hangup.Conn.
func (l *link) Unwatch() { l.watched.Unwatch() }

// Reset resets the connection, so that the client cannot mistake what it got for a
// complete answer when the end of the connection ends the body.
func (l *link) Reset() { l.CloseAfter(); l.watched.Reset() }

// Abandon resets the connection, whatever state it is in. Unlike the other methods it may
// be called from any goroutine.
func (l *link) Abandon() { l.watched.Reset() }

// Cut closes the connection in the middle of an answer.
func (l *link) Cut() { l.CloseAfter(); _ = l.Conn.Close() }

// CloseAfter makes the connection end with the current answer.
func (l *link) CloseAfter() {
	l.state.closes = true
	if l.ctx != nil {
		l.ctx.SetConnectionClose()
	}
}

// Linger lets a client that is still sending read the answer with which the connection
// ends; see hangup.Conn.
func (l *link) Linger() { l.watched.Linger() }

// joinBelow is how many bytes of an answer cost less to copy than to pass to the kernel
// in several pieces.
const joinBelow = 2 << 10

// WriteParts writes pieces of an answer together: over TCP in one system call, over TLS
// as one record. scratch is used to join them over TLS, and small ones over TCP.
func (l *link) WriteParts(scratch []byte, parts [][]byte) error {
	l.state.answered = true
	l.watched.ArmWrite()
	total := 0
	for _, p := range parts {
		total += len(p)
	}
	if _, secure := l.Conn.(*secureConn); !secure && total > joinBelow {
		buffers := net.Buffers(parts)
		_, err := buffers.WriteTo(l.watched.TCPConn)
		return err
	}
	joined := scratch[:0]
	for _, p := range parts {
		joined = append(joined, p...)
	}
	_, err := l.Conn.Write(joined)
	return err
}
