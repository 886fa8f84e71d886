package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// MaxHeader is the largest PROXY header that is accepted, in bytes. Version 2 allows
// 64 KiB of vendors' fields, but real ones take a few hundred bytes.
const MaxHeader = 4 << 10

// Errors of Header.
var (
	// ErrShort means that more bytes are needed.
	ErrShort = errors.New("proxy: the header is incomplete")
	// ErrMalformed is returned for what begins like a PROXY header but is none.
	ErrMalformed = errors.New("proxy: malformed header")
)

// The signatures of both versions. No HTTP request with a known method and no TLS record
// begins like them.
const (
	signature1 = "PROXY "
	signature2 = "\r\n\r\n\x00\r\nQUIT\n"
)

// maxLine bounds a header of version 1, CR LF included.
const maxLine = 107

// Begins reports whether p is, or may become, the beginning of a PROXY header.
func Begins(p []byte) bool { return begins(p, signature1) || begins(p, signature2) }

func begins(p []byte, signature string) bool {
	n := min(len(p), len(signature))
	return string(p[:n]) == signature[:n]
}

// Header reads the PROXY header with which p begins. n is its length, 0 if there is
// none. source is the client's address. It is the zero value if the header names none
// (UNKNOWN, LOCAL, a family other than IP); then the connection's own address counts.
// Errors: ErrShort, ErrMalformed.
func Header(p []byte) (source netip.Addr, n int, err error) {
	switch {
	case begins(p, signature1):
		if len(p) < len(signature1) {
			return source, 0, ErrShort
		}
		return header1(p)
	case begins(p, signature2):
		if len(p) < len(signature2) {
			return source, 0, ErrShort
		}
		return header2(p)
	}
	return source, 0, nil
}

// header1 reads "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n".
func header1(p []byte) (source netip.Addr, n int, err error) {
	end := bytes.IndexByte(p[:min(len(p), maxLine)], '\n')
	switch {
	case end < 0 && len(p) < maxLine:
		return source, 0, ErrShort
	case end < 0, p[end-1] != '\r':
		return source, 0, ErrMalformed
	}
	n = end + 1
	fields := strings.Split(string(p[len(signature1):end-1]), " ")
	if fields[0] == "UNKNOWN" {
		return source, n, nil // the rest of the line is ignored
	}
	if len(fields) != 5 || fields[0] != "TCP4" && fields[0] != "TCP6" {
		return source, 0, ErrMalformed
	}
	for i, text := range fields[1:3] {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" || addr.Is4() != (fields[0] == "TCP4") {
			return netip.Addr{}, 0, ErrMalformed
		}
		if i == 0 {
			source = addr.Unmap()
		}
	}
	for _, text := range fields[3:] {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || strconv.FormatUint(port, 10) != text {
			return netip.Addr{}, 0, ErrMalformed
		}
	}
	return source, n, nil
}

// Values of version 2. Its signature is followed by version and command, family and
// protocol, and the length of the rest.
const (
	fixed2  = len(signature2) + 4
	local2  = 0x20
	proxy2  = 0x21
	tcp4    = 0x11
	tcp6    = 0x21
	length4 = 2*4 + 2*2
	length6 = 2*16 + 2*2
)

func header2(p []byte) (source netip.Addr, n int, err error) {
	if len(p) < fixed2 {
		return source, 0, ErrShort
	}
	command, family := p[len(signature2)], p[len(signature2)+1]
	n = fixed2 + int(binary.BigEndian.Uint16(p[len(signature2)+2:]))
	least := fixed2
	if command == proxy2 {
		switch family {
		case tcp4:
			least += length4
		case tcp6:
			least += length6
		}
	}
	switch {
	case command != local2 && command != proxy2, n > MaxHeader, n < least:
		return source, 0, ErrMalformed
	case len(p) < n:
		return source, 0, ErrShort
	case least == fixed2+length4:
		source = netip.AddrFrom4([4]byte(p[fixed2:]))
	case least == fixed2+length6:
		source = netip.AddrFrom16([16]byte(p[fixed2:])).Unmap()
	}
	return source, n, nil
}
