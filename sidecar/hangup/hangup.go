// Package hangup is a TCP listener whose connections notice that the client has left
// while the handler is doing something other than reading, which fasthttp never notices.
// It also bounds the number of connections.
//
// A client has left when the kernel has seen its FIN or a reset. A client that
// half-closes has left too, as for nginx and net/http, because the two cannot be told
// apart. A TLS close_notify alone does not count: clients close the socket right after
// it.
//
// One case stays hidden: the kernel does not take a FIN behind bytes for which the
// receive window has no room (tens to hundreds of KB), until somebody reads them. So a
// client that pipelines more than that behind the request being served, and then closes
// without a reset, is noticed only when something is written to it: its kernel answers
// that with a reset. A peer that vanished without a FIN or a reset is noticed by
// keep-alive probes while nothing is in flight, and by Options.WriteTimeout while
// something is.
//
// Only Linux reports hang-ups; elsewhere everything works except Watch, which never
// calls.
package hangup

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// keepAliveProbes is how many unanswered probes give up a peer; more if WriteTimeout
// leaves time for them.
const keepAliveProbes = 3

// ErrListener is returned by Listen for a listener that is not TCP.
var ErrListener = errors.New("hangup: not a TCP listener")

// ErrOptions is wrapped by what Listen returns for options out of range.
var ErrOptions = errors.New("hangup: bad options")

// Options bound the connections of a Listener. The zero value sets no limits
// and probes silent peers after 15 s.
type Options struct {
	// MaxConnections is how many connections may be open at once, not counting one that
	// was accepted and waits for room. At the limit, the connection that has been idle
	// for longest is closed to make room for it: one that rests (Conn.Rest), or that has
	// sent nothing for a second since it was accepted. If there is none, Accept waits
	// until a connection becomes idle or closes, and further clients wait in the kernel's
	// backlog. 0: no limit.
	MaxConnections int

	// MaxPerIP is how many connections one address may have open; one more is reset at
	// once. IPv4-mapped addresses count as IPv4. IPv6 addresses are counted by /64, the
	// least that one host is given, except link-local addresses, which share theirs. 0:
	// no limit.
	MaxPerIP int

	// Uncounted reports addresses whose connections MaxPerIP does not count when they are
	// accepted: those of proxies, whose clients are known later and then counted by
	// Conn.Count. nil: none.
	Uncounted func(netip.Addr) bool

	// KeepAlive is the silence after which a peer is probed, at most half of
	// WriteTimeout. Probes follow at a third of that: three, or more if WriteTimeout is
	// longer than all of that, so that a peer that vanished is given up after
	// WriteTimeout whether something was written to it or not. Whole seconds, rounded up.
	// 0: 15 s; negative: never.
	KeepAlive time.Duration

	// WriteTimeout bounds how long a client may take nothing of what was written to it,
	// whether it does not read or has vanished; a client that takes a little, however
	// slowly, is not cut. It is checked eight times in that time, so cutting a client may
	// take up to a quarter longer. What a client takes is what its kernel reports:
	// usually that opens the window by half the receive buffer or one segment at a time.
	// On other systems than Linux, WriteTimeout bounds each write. 0: no bound.
	WriteTimeout time.Duration
}

// Stats is what a Listener has seen.
type Stats struct {
	Open         int    // connections open now
	Accepted     uint64 // connections handed out by Accept
	Refused      uint64 // connections reset because of MaxPerIP
	AcceptErrors uint64 // failures after which Accept went on: no descriptors left, …
	HangUps      uint64 // calls told that their client has left
	Evicted      uint64 // idle connections closed to make room
}

// validated returns the options with their defaults, or ErrOptions.
func (o Options) validated() (Options, error) {
	switch {
	case o.MaxConnections < 0:
		return o, fmt.Errorf("%w: MaxConnections %d", ErrOptions, o.MaxConnections)
	case o.MaxPerIP < 0:
		return o, fmt.Errorf("%w: MaxPerIP %d", ErrOptions, o.MaxPerIP)
	case o.WriteTimeout < 0:
		return o, fmt.Errorf("%w: WriteTimeout %v", ErrOptions, o.WriteTimeout)
	}
	if o.KeepAlive == 0 {
		o.KeepAlive = 15 * time.Second
	}
	return o, nil
}

// firstProbe returns the silence after which a peer is probed.
func (o Options) firstProbe() time.Duration {
	if o.WriteTimeout > 0 {
		return min(o.KeepAlive, o.WriteTimeout/2)
	}
	return o.KeepAlive
}
