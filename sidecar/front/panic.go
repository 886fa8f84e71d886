package front

import (
	"errors"
	"runtime/debug"
)

// errPanicked is what reading gives that hit a fault of ours.
var errPanicked = errors.New("internal fault")

// panicked tells of a fault of ours. Wherever a connection is read or served, it is
// kept to that connection: fasthttp, whose goroutine it is, would let it end the
// process.
func (s *Server) panicked(fault any) {
	if s.o.Panicked != nil {
		s.o.Panicked(fault, debug.Stack())
	}
}

// recoverHead is deferred where a head is read: the request is refused.
func (c *wire) recoverHead(err *error) {
	fault := recover()
	if fault == nil {
		return
	}
	c.server.panicked(fault)
	c.Head.release()
	c.Head.fail(400, "The request could not be read")
	c.guard.state = isLost
	*err = errPanicked
}

// recoverBody is deferred where a body is read beside its request, by a goroutine
// which only knows the body.
func (s *Stream) recoverBody(err *error) {
	if fault := recover(); fault != nil {
		s.c.server.panicked(fault)
		*err = ErrBodyFraming
	}
}
