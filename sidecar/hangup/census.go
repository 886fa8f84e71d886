package hangup

import (
	"net"
	"net/netip"
	"sync"
)

// A census counts the open connections by origin.
type census struct {
	limit int

	mu    sync.Mutex
	count map[netip.Addr]int
}

func newCensus(limit int) *census {
	return &census{limit: limit, count: make(map[netip.Addr]int)}
}

// add counts one more connection of origin, and reports false instead if origin is at the
// limit. The zero Addr is never counted.
func (s *census) add(origin netip.Addr) bool {
	if !origin.IsValid() {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.count[origin]
	if n >= s.limit {
		return false
	}
	s.count[origin] = n + 1
	return true
}

// remove counts one connection of origin less.
func (s *census) remove(origin netip.Addr) {
	if !origin.IsValid() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.count[origin]; n > 1 {
		s.count[origin] = n - 1
	} else {
		delete(s.count, origin)
	}
}

// addrOf returns the IP address in addr; the zero Addr if that is not a TCP address.
func addrOf(addr net.Addr) netip.Addr {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr()
}

// OriginOf returns the origin that connections from ip are counted under: IPv4 and
// link-local addresses count one by one, other IPv6 addresses by their /64.
func OriginOf(ip netip.Addr) netip.Addr {
	ip = ip.Unmap()
	if ip.Is4() || ip.IsLinkLocalUnicast() {
		return ip
	}
	if !ip.IsValid() {
		return ip
	}
	network, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return ip
	}
	return network.Addr()
}
