package sidecar

import "github.com/usher-sidecar/usher/reorder"

// unspooled is how large a body may be that is left in the kernel while its request
// waits, in bytes: what every connection has room for there, so that its client's
// leaving is seen behind it.
const unspooled = 32 << 10

// spooler is what reads the body while the request waits; nil: nothing, since it is
// here, or small.
func (x *exchange) spooler() reorder.Spooler {
	if length := x.conn.Head.Length(); 0 <= length && length <= unspooled || x.leftBody() == nil {
		return nil
	}
	return (*spooler)(x)
}

// A spooler is an exchange while it waits.
type spooler exchange

// Spool implements reorder.Spooler. What is wrong with the body ends the waiting.
func (x *spooler) Spool(more func(int64) bool) { x.body.stream.Spool(more, x.call.cancel) }

// Halt implements reorder.Spooler.
func (x *spooler) Halt() { x.body.stream.Halt() }
