package hangup

import (
	"net/netip"
	"sync"
)

// A register holds the open connections.
type register struct {
	perIP *census // nil: no limit

	mu        sync.Mutex
	lastToken uint64
	conns     map[uint64]*Conn // by token: descriptors are reused, tokens never
	down      bool             // no connection may be added any more
}

// add gives c a token and reports whether c may stay; if not, the caller must cut it.
func (r *register) add(c *Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastToken++
	c.token = r.lastToken
	r.conns[c.token] = c
	return !r.down
}

func (r *register) remove(c *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c.token)
	if r.perIP != nil {
		r.perIP.remove(c.origin)
	}
}

// find returns the connection with that token; nil if it was closed.
func (r *register) find(token uint64) *Conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conns[token]
}

// list appends the open connections to list.
func (r *register) list(list []*Conn) []*Conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		list = append(list, c)
	}
	return list
}

func (r *register) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.conns)
}

// shut admits no more connections. It reports whether this is the first call.
func (r *register) shut() (first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first, r.down = !r.down, true
	return first
}

// recount counts c under another origin. If that is at its limit, c is counted under
// none, and recount returns false. A closed connection is no longer counted.
func (r *register) recount(c *Conn, origin netip.Addr) bool {
	if r.perIP == nil {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conns[c.token] != c {
		return true
	}
	r.perIP.remove(c.origin)
	c.origin = origin
	if r.perIP.add(origin) {
		return true
	}
	c.origin = netip.Addr{}
	return false
}
