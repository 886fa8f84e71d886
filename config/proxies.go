package config

import (
	"errors"
	"net/netip"
	"strings"
)

var errMappedPrefix = errors.New("an IPv4-mapped prefix must have 96 bits at least")

// prefixOf reads an address (10.1.2.3) or a prefix (10.0.0.0/8).
func prefixOf(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		prefix, err := netip.ParsePrefix(text)
		if err == nil && prefix.Addr().Is4In6() {
			if prefix.Bits() < 96 {
				return netip.Prefix{}, errMappedPrefix
			}
			prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
		}
		return prefix.Masked(), err
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	addr = addr.Unmap().WithZone("")
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}
