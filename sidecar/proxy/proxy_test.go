package proxy

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func trusted(t *testing.T, texts ...string) (list Trusted) {
	t.Helper()
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

func TestTrusted(t *testing.T) {
	list := trusted(t, "10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "fe80::1/128")
	for text, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "11.0.0.1": false, "192.0.2.7": true, "192.0.2.8": false,
		"2001:db8:1::2": true, "2001:db9::": false, "fe80::1%eth0": true,
	} {
		require.Equal(t, want, list.Has(netip.MustParseAddr(text)), text)
	}
	require.False(t, list.Has(netip.Addr{}))
	require.False(t, Trusted(nil).Has(netip.MustParseAddr("127.0.0.1")))
}

func TestClient(t *testing.T) {
	list := trusted(t, "10.0.0.0/8", "2001:db8::/32")
	for _, tt := range []struct {
		peer  string
		lines []string
		want  string
	}{
		{"10.0.0.1", nil, "10.0.0.1"},
		{"10.0.0.1", []string{"203.0.113.9"}, "203.0.113.9"},
		{"203.0.113.1", []string{"198.51.100.1"}, "203.0.113.1"}, // nobody's word
		{"10.0.0.1", []string{"198.51.100.1, 203.0.113.9"}, "203.0.113.9"},
		{"10.0.0.1", []string{"198.51.100.1, 203.0.113.9, 10.0.0.2"}, "203.0.113.9"},
		{"10.0.0.1", []string{"198.51.100.1", "203.0.113.9, 10.0.0.3", "10.0.0.2"}, "203.0.113.9"},
		{"10.0.0.1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"}, // proxies all along
		{"10.0.0.1", []string{"203.0.113.9:1234"}, "203.0.113.9"},
		{"10.0.0.1", []string{"[2001:db9::1]:1234"}, "2001:db9::1"},
		{"10.0.0.1", []string{"[2001:db9::1]"}, "2001:db9::1"},
		{"2001:db8::5", []string{"2001:db9::1"}, "2001:db9::1"},
		{"10.0.0.1", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		{"10.0.0.1", []string{"203.0.113.9, unknown"}, "10.0.0.1"},
		{"10.0.0.1", []string{"203.0.113.9, unknown, 10.0.0.2"}, "10.0.0.2"},
		{"10.0.0.1", []string{"203.0.113.9,, ,"}, "203.0.113.9"},
		{"10.0.0.1", []string{""}, "10.0.0.1"},
	} {
		var lines [][]byte
		for _, line := range tt.lines {
			lines = append(lines, []byte(line))
		}
		require.Equal(t, tt.want, list.Client(netip.MustParseAddr(tt.peer), lines).String(), tt)
	}
}

// v2 makes a header of version 2.
func v2(command, family byte, length int, rest string) string {
	return signature2 + string([]byte{command, family, byte(length >> 8), byte(length)}) + rest
}

const (
	pair4 = "\xcb\x00\x71\x09\x0a\x00\x00\x01\x30\x39\x01\xbb"
	pair6 = "\x20\x01\x0d\xb9\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" + "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02" + "\x30\x39\x01\xbb"
)

var good = []struct{ header, source string }{
	{"PROXY TCP4 203.0.113.9 10.0.0.1 56324 443\r\n", "203.0.113.9"},
	{"PROXY TCP6 2001:db9::1 2001:db8::2 0 65535\r\n", "2001:db9::1"},
	{"PROXY TCP6 ::ffff:203.0.113.9 ::1 1 2\r\n", "203.0.113.9"},
	{"PROXY UNKNOWN\r\n", ""},
	{"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", ""},
	{v2(proxy2, tcp4, len(pair4), pair4), "203.0.113.9"},
	{v2(proxy2, tcp4, len(pair4)+7, pair4+"\x04\x00\x04abcd"), "203.0.113.9"},
	{v2(proxy2, tcp6, len(pair6), pair6), "2001:db9::1"},
	{v2(local2, 0, 0, ""), ""},
	{v2(local2, tcp4, len(pair4), pair4), ""}, // a proxy's own check of health
	{v2(proxy2, 0, 0, ""), ""},
	{v2(proxy2, 0x12, len(pair4), pair4), ""}, // UDP
	{v2(proxy2, 0x31, 216, strings.Repeat("a", 216)), ""},
	{v2(proxy2, tcp4, MaxHeader-fixed2, pair4+strings.Repeat("a", MaxHeader-fixed2-len(pair4))), "203.0.113.9"},
}

// A header is read whatever follows it, but not before its last byte has arrived.
func TestHeader(t *testing.T) {
	for _, tt := range good {
		source, n, err := Header([]byte(tt.header + "GET / HTTP/1.1\r\n"))
		require.NoError(t, err, "%q", tt.header)
		require.Equal(t, len(tt.header), n, "%q", tt.header)
		require.Equal(t, tt.source != "", source.IsValid(), "%q", tt.header)
		if tt.source != "" {
			require.Equal(t, tt.source, source.String())
		}
		for i := range len(tt.header) {
			_, n, err := Header([]byte(tt.header[:i]))
			require.ErrorIs(t, err, ErrShort, "%q", tt.header[:i])
			require.Zero(t, n)
		}
	}
}

func TestNotAHeader(t *testing.T) {
	for _, text := range []string{"GET / HTTP/1.1\r\n", "PUT /", "\x16\x03\x01", "\r\n\r\nGET /", "PROXY/", "proxy TCP4 "} {
		_, n, err := Header([]byte(text))
		require.NoError(t, err, "%q", text)
		require.Zero(t, n)
		require.False(t, Begins([]byte(text)))
	}
	for _, text := range []string{
		"PROXY TCP4 203.0.113.9 10.0.0.1 56324 443\n", "PROXY \r\n", "PROXY TCP5 203.0.113.9 10.0.0.1 1 2\r\n",
		"PROXY TCP4  203.0.113.9 10.0.0.1 1 2\r\n", "PROXY TCP4 203.0.113.9 10.0.0.1 1 2 \r\n", "PROXY TCP4 203.0.113.9 10.0.0.1 1\r\n",
		"PROXY TCP4 2001:db9::1 10.0.0.1 1 2\r\n", "PROXY TCP6 203.0.113.9 10.0.0.1 1 2\r\n", "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
		"PROXY TCP4 203.0.113.9 10.0.0.1 01 2\r\n", "PROXY TCP4 203.0.113.9 10.0.0.1 65536 2\r\n", "PROXY TCP4 203.0.113.9 10.0.0.1 -1 2\r\n",
		"PROXY TCP4 203.0.113.009 10.0.0.1 1 2\r\n", "PROXY TCP4 x 10.0.0.1 1 2\r\n", "PROXY " + strings.Repeat("a", maxLine),
		v2(0x11, tcp4, len(pair4), pair4), v2(0x22, tcp4, len(pair4), pair4), v2(proxy2, tcp4, len(pair4)-1, pair4),
		v2(proxy2, tcp6, len(pair4), pair4), v2(proxy2, tcp4, MaxHeader-fixed2+1, pair4), v2(local2, 0, 0xffff, ""),
	} {
		require.True(t, Begins([]byte(text)))
		_, n, err := Header([]byte(text))
		require.ErrorIs(t, err, ErrMalformed, "%q", text)
		require.Zero(t, n)
	}
}

// FuzzHeader checks that a header ends where it says: with one byte less it is short,
// and what follows it changes nothing.
func FuzzHeader(f *testing.F) {
	for _, tt := range good {
		f.Add([]byte(tt.header))
	}
	f.Add([]byte("PROXY TCP4 203.0.113.9 10.0.0.1 01 2\r\nGET"))
	f.Fuzz(func(t *testing.T, p []byte) {
		source, n, err := Header(p)
		if err != nil {
			require.Zero(t, n)
			require.False(t, source.IsValid())
			require.True(t, Begins(p))
			require.False(t, err == ErrShort && len(p) >= MaxHeader, "more would be waited for without end")
			return
		}
		require.LessOrEqual(t, n, min(len(p), MaxHeader))
		require.Equal(t, n > 0, Begins(p))
		if n == 0 {
			return
		}
		_, _, err = Header(p[:n-1])
		require.ErrorIs(t, err, ErrShort)
		again, m, err := Header(append(p[:n:n], 'x'))
		require.NoError(t, err)
		require.Equal(t, n, m)
		require.Equal(t, source, again)
	})
}

// FuzzClient checks that a client is never taken for an address that no trusted proxy
// named.
func FuzzClient(f *testing.F) {
	f.Add("198.51.100.1, 203.0.113.9:80, [::1]", "10.0.0.3")
	f.Fuzz(func(t *testing.T, first, second string) {
		list := trusted(t, "10.0.0.0/8")
		lines := [][]byte{[]byte(first), []byte(second)}
		stranger := netip.MustParseAddr("203.0.113.1")
		require.Equal(t, stranger, list.Client(stranger, lines))
		require.True(t, list.Client(netip.MustParseAddr("10.0.0.1"), lines).IsValid())
	})
}
