package socket

import "sync"

// The arguments and results of a call, and the callbacks of syscall.RawConn that make it.
// Each callback is a method value, which is an allocation, so calls are pooled. A
// connection on which nothing happens needs none.
type (
	incoming struct {
		read  func(fd uintptr) bool
		try   func(fd uintptr)
		probe func(fd uintptr)

		p      []byte
		ahead  *Ahead // read into instead of p
		n      int
		err    error
		silent bool
	}
	outgoing struct {
		write func(fd uintptr) bool
		try   func(fd uintptr)

		a, b []byte // what is left
		once bool   // one system call, without waiting
		err  error
	}
)

var incomings = sync.Pool{New: func() any {
	in := new(incoming)
	in.read, in.try, in.probe = in.readOnce, in.tryOnce, in.look
	return in
}}

func takeIncoming() *incoming { return incomings.Get().(*incoming) }

func (in *incoming) release() {
	in.p, in.ahead, in.n, in.err, in.silent = nil, nil, 0, nil, false
	incomings.Put(in)
}

var outgoings = sync.Pool{New: func() any {
	out := new(outgoing)
	out.write, out.try = out.writeOn, out.tryOnce
	return out
}}

func takeOutgoing() *outgoing { return outgoings.Get().(*outgoing) }

func (o *outgoing) release() {
	o.a, o.b, o.once, o.err = nil, nil, false, nil
	outgoings.Put(o)
}
