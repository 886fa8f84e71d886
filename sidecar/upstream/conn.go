package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
)

// A Conn is one use of a connection to the model server: one request and its
// response. It belongs to one goroutine, except that Cancel may be called from
// any, at any time.
//
// Cancel and the end of the use race for the line, and one atomic swap settles
// it. Without that: the body ends; Cancel looks and finds the use going on; the
// owner puts the line into the pool; the next request takes it and is sent;
// Cancel closes it, and a stranger's request dies. With it, whoever takes the
// line out of owned decides its fate alone. If Cancel does, the line is closed
// and never pooled, even when the response was whole. If the end of the use
// does, a later Cancel finds nothing. And because the pool keeps lines and not
// Conns, a Cancel that is years late still holds the Conn of its own use, and
// cannot reach the line through it.
type Conn struct {
	client   *Client
	line     *line // nil when the use has ended; the owner's alone
	owned    atomic.Pointer[line]
	reused   bool
	used     bool         // RoundTrip was called
	rest     <-chan error // how writing the rest of the request beside the answer ended; nil: all was written before
	upload   *upload      // sends the request's Source; nil: it has none
	response Response
}

func newConn(c *Client, l *line, reused bool) *Conn {
	cn := &Conn{client: c, line: l, reused: reused}
	cn.owned.Store(l)
	return cn
}

// Cancel ends the use: the connection is reset, so that the model server learns
// of it at once and stops. What the owner does then fails with ErrCanceled. It
// may be called from any goroutine, at any time and more than once, does not
// block, and does nothing once the use has ended.
func (cn *Conn) Cancel() {
	if l := cn.owned.Swap(nil); l != nil {
		l.reset()
	}
}

// Release ends a use. Before RoundTrip the connection goes back to the pool;
// after it, this is for a response that nobody wants any more, and the
// connection is reset. It does nothing once the use has ended.
func (cn *Conn) Release() {
	if cn.used {
		cn.end(abort)
	} else {
		cn.end(reuse)
	}
}

// An ending is what becomes of a connection after a use.
type ending int

const (
	abort ending = iota // the model server is to stop: reset
	finish
	reuse
)

// end ends the use, once.
func (cn *Conn) end(how ending) {
	l := cn.line
	if l == nil {
		return
	}
	if !cn.endRest(l, how != abort) {
		how = abort // with half a request on it, it is of no use
	}
	cn.line = nil
	cn.response.detach()
	unread := !l.ahead.Empty()
	l.ahead.Release()
	switch {
	case cn.owned.Swap(nil) == nil:
		// Cancel has the line, and closes it.
	case how == reuse && !unread:
		cn.client.push(l, cn.used)
	case how == abort:
		l.reset()
	default:
		l.close()
	}
}

// canceled reports whether Cancel was what took the line.
func (cn *Conn) canceled() bool { return cn.line != nil && cn.owned.Load() == nil }

// replace puts a new connection in the place of one that turned out dead before
// it took anything.
func (cn *Conn) replace() error {
	old := cn.line
	cn.client.replaced.Add(1)
	l, err := cn.client.dial(context.Background())
	if err != nil {
		return err
	}
	if !cn.owned.CompareAndSwap(old, l) {
		l.close()
		return ErrCanceled
	}
	old.close()
	cn.line, cn.reused = l, false
	return nil
}

// fail ends the use after an error and says in this package's terms what it
// was.
func (cn *Conn) fail(err error) error {
	err = cn.explain(err)
	cn.end(abort)
	return err
}

func (cn *Conn) explain(err error) error {
	switch {
	case cn.canceled():
		if cn.upload != nil {
			if failed := cn.upload.failed.Load(); failed != nil {
				return *failed
			}
		}
		return ErrCanceled
	case errors.Is(err, ErrUnreachable), errors.Is(err, ErrBroken), errors.Is(err, ErrCanceled):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ErrTimeout
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: it closed the connection", ErrBroken)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err // without the addresses, which tell nothing new
	}
	return fmt.Errorf("%w: %w", ErrBroken, err)
}
