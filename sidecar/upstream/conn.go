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

// A Conn is one use of a connection to the model server: one request and its response. It
// belongs to one goroutine, except that Cancel may be called from any, at any time.
//
// Cancel and the end of the use race for the line; one atomic swap decides. Without it
// this could happen: the body ends; Cancel finds the use still going on; the owner puts
// the line into the pool; the next request takes it and is sent; Cancel closes it, and
// another request dies. With it, whichever takes the line out of owned alone decides what
// happens to it. If Cancel takes it, the line is closed and never pooled, even if the
// response was complete. If the end of the use takes it, a later Cancel finds nothing.
// And because the pool keeps lines and not Conns, even a very late Cancel only has the
// Conn of its own use, which no longer leads to the line.
type Conn struct {
	client   *Client
	line     *line // nil once the use has ended; only the owner uses it
	owned    atomic.Pointer[line]
	redial   atomic.Pointer[context.CancelFunc] // stops replace
	reused   bool
	used     bool         // RoundTrip was called
	rest     <-chan error // the result of writing the rest of the request; nil: there is no rest
	upload   *upload      // sends the request's Source; nil: it has none
	response Response
}

func newConn(c *Client, l *line, reused bool) *Conn {
	cn := &Conn{client: c, line: l, reused: reused}
	cn.owned.Store(l)
	return cn
}

// Cancel ends the use and resets the connection, so that the model server notices
// at once and stops. The owner's calls then fail with ErrCanceled. It may be called
// from any goroutine, at any time and more than once, does not block, and does
// nothing once the use has ended.
func (cn *Conn) Cancel() {
	if l := cn.owned.Swap(nil); l != nil {
		l.reset()
	}
	if stop := cn.redial.Load(); stop != nil {
		(*stop)()
	}
}

// Release ends a use. Before RoundTrip the connection goes back to the pool. After
// it, the response is abandoned and the connection is reset. It does nothing once
// the use has ended.
func (cn *Conn) Release() {
	if cn.used {
		cn.end(abort)
	} else {
		cn.end(reuse)
	}
}

// An ending says what happens to a connection after its use.
type ending int

const (
	abort  ending = iota // reset, so that the model server stops
	finish               // close
	reuse                // keep
)

// end ends the use, once.
func (cn *Conn) end(how ending) {
	l := cn.line
	if l == nil {
		return
	}
	if !cn.endRest(l, how != abort) {
		how = abort // half a request was sent on it
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

// canceled reports whether Cancel took the line.
func (cn *Conn) canceled() bool { return cn.line != nil && cn.owned.Load() == nil }

// errNotReplaced ends a use that was cancelled before a dead connection was replaced:
// nothing was sent.
var errNotReplaced = fmt.Errorf("%w: %w", ErrUnreachable, ErrCanceled)

// replace replaces a kept connection that turned out dead before it took any bytes. All
// its errors are ErrUnreachable.
func (cn *Conn) replace() error {
	old := cn.line
	cn.client.replaced.Add(1)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	cn.redial.Store(&stop)
	if cn.canceled() { // before it could stop this
		return errNotReplaced
	}
	l, err := cn.client.dial(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return errNotReplaced
	case err != nil:
		return err
	case !cn.owned.CompareAndSwap(old, l):
		l.close()
		return errNotReplaced
	}
	old.close()
	cn.line, cn.reused = l, false
	return nil
}

// fail ends the use after an error, and returns it as one of this package's errors.
func (cn *Conn) fail(err error) error {
	err = cn.explain(err)
	cn.end(abort)
	return err
}

func (cn *Conn) explain(err error) error {
	switch {
	case errors.Is(err, ErrUnreachable):
		return err
	case cn.canceled():
		if cn.upload != nil {
			if failed := cn.upload.failed.Load(); failed != nil {
				return *failed
			}
		}
		return ErrCanceled
	case errors.Is(err, ErrBroken), errors.Is(err, ErrCanceled):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ErrTimeout
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: it closed the connection", ErrBroken)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err // without the addresses, which are known
	}
	return fmt.Errorf("%w: %w", ErrBroken, err)
}
