package security

import (
	"crypto/tls"
	byteorder "encoding/binary"
	"io"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// A hello is what a ClientHello offers; no client is behind it.
type hello struct {
	version uint16 // of SSL or TLS
	suites  []uint16
	groups  []uint16
}

// record returns the hello as a TLS record.
func (h hello) record() []byte {
	vector := func(width int, body []byte) []byte {
		length := byteorder.BigEndian.AppendUint32(nil, uint32(len(body)))
		return append(length[4-width:], body...)
	}
	numbers := func(list []uint16) (b []byte) {
		for _, n := range list {
			b = byteorder.BigEndian.AppendUint16(b, n)
		}
		return b
	}
	var extensions []byte
	extension := func(id uint16, body []byte) {
		extensions = append(byteorder.BigEndian.AppendUint16(extensions, id), vector(2, body)...)
	}
	extension(10, vector(2, numbers(h.groups)))
	extension(11, vector(1, []byte{0}))
	extension(13, vector(2, numbers([]uint16{0x0403, 0x0804, 0x0401})))
	legacy := h.version
	if h.version == tls.VersionTLS13 {
		legacy = tls.VersionTLS12
		extension(43, vector(1, numbers([]uint16{h.version})))
		extension(51, vector(2, nil)) // no share: the server asks for one of a group it takes
	}
	body := append(byteorder.BigEndian.AppendUint16(nil, legacy), make([]byte, 32)...)
	body = append(body, vector(1, nil)...)
	body = append(body, vector(2, numbers(h.suites))...)
	body = append(body, vector(1, []byte{0})...)
	body = append(body, vector(2, extensions)...)
	return append([]byte{22, byte(min(legacy, 0x0301) >> 8), byte(min(legacy, 0x0301))}, vector(2, append([]byte{1}, vector(3, body)...))...)
}

// accepted reports whether the answer to a hello is a ServerHello and not an alert.
func (h hello) accepted(t *testing.T, address string) bool {
	t.Helper()
	c := rig.Dial(t, address)
	defer func() { _ = c.Close() }()
	c.Send(string(h.record()))
	var header [6]byte
	_, err := io.ReadFull(c.In, header[:])
	require.NoError(t, err)
	require.Contains(t, []byte{21, 22}, header[0], "an alert or a handshake")
	return header[0] == 22 && header[5] == 2
}

// The tables of docs/tls.md list exactly what is accepted of all the versions, suites
// and groups that can be offered.
func TestWhatTLSOffers(t *testing.T) {
	t.Parallel()
	u, _, _ := twoPairs(t, nil)
	text, err := os.ReadFile("../../docs/tls.md")
	require.NoError(t, err)
	code := func(hex string) uint16 {
		n, err := strconv.ParseUint(hex, 16, 16)
		require.NoError(t, err)
		return uint16(n)
	}
	suites := map[uint16][]uint16{}
	for _, row := range regexp.MustCompile("(?m)^\\| `0x(\\w+)` \\| `(\\w+)` \\| TLS 1\\.(\\d) \\|$").FindAllStringSubmatch(string(text), -1) {
		require.Equal(t, tls.CipherSuiteName(code(row[1])), row[2])
		version := map[string]uint16{"2": tls.VersionTLS12, "3": tls.VersionTLS13}[row[3]]
		suites[version] = append(suites[version], code(row[1]))
	}
	var groups []uint16
	for _, row := range regexp.MustCompile("(?m)^\\| `0x(\\w+)` \\| `(\\w+)` \\|$").FindAllStringSubmatch(string(text), -1) {
		require.Equal(t, tls.CurveID(code(row[1])).String(), row[2])
		groups = append(groups, code(row[1]))
	}
	require.Len(t, suites, 2)
	require.Len(t, groups, 7)
	versions := map[string]uint16{"SSL 3.0": 0x0300, "TLS 1.0": tls.VersionTLS10, "TLS 1.1": tls.VersionTLS11, "TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13}
	rows := regexp.MustCompile(`(?m)^\| ((?:SSL|TLS) \d\.\d) \| (accepted|refused) \|$`).FindAllStringSubmatch(string(text), -1)
	require.Len(t, rows, len(versions))
	for _, row := range rows {
		all := append(append([]uint16{}, suites[tls.VersionTLS12]...), suites[tls.VersionTLS13]...)
		all = append(all, tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA)
		require.Equal(t, row[2] == "accepted", hello{versions[row[1]], all, groups}.accepted(t, u.Public), row[1])
	}
	for version, good := range suites {
		for _, suite := range good {
			require.True(t, hello{version, []uint16{suite}, groups}.accepted(t, u.Public), "%04x of %04x", suite, version)
		}
		const scsv = 0x5600 // is no suite, and would hide those beside it
		eachBlock(append(good, scsv), func(rest []uint16) {
			require.False(t, hello{version, rest, groups}.accepted(t, u.Public), "one from %04x to %04x of %04x", rest[0], rest[len(rest)-1], version)
		})
	}
	for _, group := range groups {
		require.True(t, hello{tls.VersionTLS13, suites[tls.VersionTLS13], []uint16{group}}.accepted(t, u.Public), "%04x", group)
	}
	eachBlock(groups, func(rest []uint16) {
		require.False(t, hello{tls.VersionTLS13, suites[tls.VersionTLS13], rest}.accepted(t, u.Public), "one from %04x to %04x", rest[0], rest[len(rest)-1])
	})
}

// eachBlock yields all 16-bit numbers except some, in blocks that fit in a record.
func eachBlock(but []uint16, do func([]uint16)) {
	skip := map[uint16]bool{}
	for _, n := range but {
		skip[n] = true
	}
	var block []uint16
	for n := range 1 << 16 {
		if !skip[uint16(n)] {
			block = append(block, uint16(n))
		}
		if len(block) == 7000 || n == 1<<16-1 {
			do(block)
			block = nil
		}
	}
}
