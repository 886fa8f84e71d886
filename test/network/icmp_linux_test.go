package network

import (
	"encoding/binary"
	"net/netip"
)

// refusal returns the ICMP message by which the sender of a packet learns that it is
// too large for a link (RFC 792 and 1191, RFC 4443).
func (l *lab) refusal(packet []byte, k *link) []byte {
	k.mu.Lock()
	mtu := k.does.mtu
	k.mu.Unlock()
	if packet[0]>>4 == 4 {
		quoted := packet[:min(len(packet), int(packet[0]&15)*4+8)]
		m := make([]byte, 28, 28+len(quoted))
		m[0], m[8], m[9] = 0x45, 64, 1
		copy(m[12:], []byte{10, 66, 0, 254})
		copy(m[16:], packet[12:16])
		m[20], m[21] = 3, 4
		binary.BigEndian.PutUint16(m[26:], uint16(mtu))
		m = append(m, quoted...)
		binary.BigEndian.PutUint16(m[2:], uint16(len(m)))
		binary.BigEndian.PutUint16(m[10:], checksum(0, m[:20]))
		binary.BigEndian.PutUint16(m[22:], checksum(0, m[20:]))
		return m
	}
	quoted := packet[:min(len(packet), 1280-48)]
	m := make([]byte, 48, 48+len(quoted))
	m[0], m[6], m[7] = 0x60, 58, 64
	router := netip.MustParseAddr("fd66::ffff").As16()
	copy(m[8:], router[:])
	copy(m[24:], packet[8:24])
	m[40] = 2
	binary.BigEndian.PutUint32(m[44:], uint32(mtu))
	m = append(m, quoted...)
	length := len(m) - 40
	binary.BigEndian.PutUint16(m[4:], uint16(length))
	pseudo := checksum(0, m[8:40]) ^ 0xffff
	binary.BigEndian.PutUint16(m[42:], checksum(uint32(pseudo)+uint32(length)+58, m[40:]))
	return m
}

// checksum is the Internet checksum (RFC 1071).
func checksum(sum uint32, b []byte) uint16 {
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
