package sidecar

import "github.com/usher-sidecar/usher/reorder"

// unspooled is how large a body may be, in bytes, to be left in the kernel's buffers
// while its request waits. Every connection has room for that much, so the kernel still
// notices if the client leaves.
const unspooled = 32 << 10

// spooler returns what reads the body while the request waits; nil if the body has been
// read, or is small.
func (x *exchange) spooler() reorder.Spooler {
	if length := x.conn.Head.Length(); 0 <= length && length <= unspooled || x.leftBody() == nil {
		return nil
	}
	return (*spooler)(x)
}

// A spooler is an exchange while it waits for its turn.
type spooler exchange

// Spool implements reorder.Spooler. A fault of the body ends the wait.
func (x *spooler) Spool(more func(int64) bool) { x.body.stream.Spool(more, x.call.cancel) }

// Halt implements reorder.Spooler.
func (x *spooler) Halt() { x.body.stream.Halt() }
