package hangup

import (
	"net/netip"
	"sync"
)

// A register knows the connections that are open.
type register struct {
	perIP *census // nil: no limit

	mu        sync.Mutex
	lastToken uint64
	conns     map[uint64]*Conn // by token: descriptors are used again, tokens never
	down      bool             // no connection is added any more
}

// add gives c a token and reports whether it may stay; if not, it is to be cut.
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

// find returns the connection with that token; nil if it is closed.
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

// shut lets no connection in any more. It reports whether it is the first call.
func (r *register) shut() (first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first, r.down = !r.down, true
	return first
}

// recount counts c under another origin, and under none where that is at its limit:
// then it returns false. A connection that was closed is counted no more.
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
