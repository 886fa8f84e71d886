package front

import (
	"errors"
	"runtime/debug"
)

// errPanicked is the error of reading that panicked.
var errPanicked = errors.New("internal fault")

// panicked reports a recovered panic. Panics are recovered wherever a connection is read
// or served, and end only that connection: fasthttp, whose goroutine it is, would let
// them end the process.
func (s *Server) panicked(fault any) { s.panickedAt(fault, debug.Stack()) }

// panickedAt is panicked for a panic that was recovered elsewhere.
func (s *Server) panickedAt(fault any, stack []byte) {
	if s.o.Panicked != nil {
		s.o.Panicked(fault, stack)
	}
}

// recoverHead is deferred where a head is read. The request is refused.
func (c *wire) recoverHead(err *error) {
	fault := recover()
	if fault == nil {
		return
	}
	c.server.panicked(fault)
	c.Head.Release()
	c.Head.fail(400, "The request could not be read")
	c.guard.state = isLost
	*err = errPanicked
}

// recoverBody is deferred where a Stream is read, by a goroutine that only knows the
// body.
func recoverBody(s *Stream, err *error) {
	if fault := recover(); fault != nil {
		s.c.server.panicked(fault)
		*err = ErrBodyFraming
	}
}
