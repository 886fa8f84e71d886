package front

import (
	"bufio"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

func TestFraming(t *testing.T) {
	const line = "POST /generate HTTP/1.1\r\n"
	tests := []struct {
		name, head string
		status     int // 0: acceptable; -1: 400, or the guard stops it
	}{
		{"plain", line + "Host: a\r\nContent-Length: 3\r\n\r\n", 0},
		{"chunked", line + "Host: a\r\nTransfer-Encoding: chunked\r\n\r\n", 0},
		{"chunked in capitals", line + "Host: a\r\nTransfer-Encoding: Chunked\r\n\r\n", 0},
		{"no length", line + "Host: a\r\n\r\n", 0},
		{"expect", line + "Host: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", 0},
		{"HTTP/1.0 without host", "POST /generate HTTP/1.0\r\nContent-Length: 3\r\n\r\n", 0},
		{"absolute form", "POST http://a/generate HTTP/1.1\r\nHost: a\r\n\r\n", 0},
		{"obs-text in a value", line + "Host: a\r\nX: caf\xe9\r\n\r\n", 0},
		{"HTTP/2.0", "POST /generate HTTP/2.0\r\nHost: a\r\n\r\n", 505},
		{"HTTP/1.2", "POST /generate HTTP/1.2\r\nHost: a\r\n\r\n", 505},
		{"no host", line + "Content-Length: 3\r\n\r\n", -1},
		{"any host", line + "Host: A-z_0.~!$&'()*+,;=%41:80\r\n\r\n", 0},
		{"an IPv6 host", line + "Host: [::1]:3000\r\n\r\n", 0},
		{"an empty host", line + "Host:\r\n\r\n", 0},
		{"a user before the host", line + "Host: a@b\r\n\r\n", -1},
		{"a quote in the host", line + "Host: a\"b\r\n\r\n", -1},
		{"no ASCII in the host", line + "Host: \xff\r\n\r\n", -1},
		{"two hosts", line + "Host: a\r\nHost: b\r\n\r\n", -1},
		{"length and chunked", line + "Host: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", -1},
		{"length twice, equal", line + "Host: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n", -1},
		{"length list", line + "Host: a\r\nContent-Length: 3, 3\r\n\r\n", -1},
		{"length with a sign", line + "Host: a\r\nContent-Length: +3\r\n\r\n", -1},
		{"length in hex", line + "Host: a\r\nContent-Length: 0x3\r\n\r\n", -1},
		{"length negative", line + "Host: a\r\nContent-Length: -3\r\n\r\n", -1},
		{"length empty", line + "Host: a\r\nContent-Length:\r\n\r\n", -1},
		{"length beyond 64 bits", line + "Host: a\r\nContent-Length: 99999999999999999999\r\n\r\n", -1},
		{"identity", line + "Host: a\r\nTransfer-Encoding: identity\r\n\r\n", -1},
		{"gzip, chunked", line + "Host: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", -1},
		{"chunked twice", line + "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", -1},
		{"obscured chunked", line + "Host: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", -1},
		{"chunked in HTTP/1.0", "POST /generate HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", -1},
		{"folded", line + "Host: a\r\nX: b\r\n c\r\n\r\n", -1},
		{"folded coding", line + "Host: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n", -1},
		{"space before colon", line + "Host: a\r\nContent-Length : 3\r\n\r\n", -1},
		{"space in name", line + "Host: a\r\nContent Length: 3\r\n\r\n", -1},
		{"underscored length", line + "Host: a\r\nContent_Length: 3\r\n\r\n", -1},
		{"underscored coding", line + "Host: a\r\nTransfer_Encoding: chunked\r\n\r\n", -1},
		{"bare LF ends a field", line + "Host: a\nX: b\r\n\r\n", -1},
		{"bare LF ends the head", line + "Host: a\r\n\nX: b\r\n\r\n", -1},
		{"bare CR in a value", line + "Host: a\r\nX: b\rc\r\n\r\n", -1},
		{"NUL in a value", line + "Host: a\r\nX: b\x00c\r\n\r\n", -1},
		{"NUL in a name", line + "Host: a\r\nX\x00: b\r\n\r\n", -1},
		{"empty name", line + "Host: a\r\n: b\r\n\r\n", -1},
		{"no colon", line + "Host: a\r\nX\r\n\r\n", -1},
		{"fragment", "POST /generate#x HTTP/1.1\r\nHost: a\r\n\r\n", -1},
		{"raw UTF-8 in the target", "POST /génerate HTTP/1.1\r\nHost: a\r\n\r\n", -1},
		{"other expectation", line + "Host: a\r\nExpect: a-pony\r\n\r\n", 417},
		{"too many fields", line + "Host: a\r\n" + strings.Repeat("X: y\r\n", maxFields) + "\r\n", 431},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var g guard
			_, _, ok := g.pass([]byte(tt.head))
			if tt.status == -1 && !ok {
				return // the guard stopped it
			}
			require.True(t, ok)
			fault := headOf(tt.head).fault
			switch tt.status {
			case 0:
				require.Nil(t, fault)
			case -1:
				require.NotNil(t, fault)
				require.Equal(t, 400, fault.Status)
			default:
				require.NotNil(t, fault)
				require.Equal(t, tt.status, fault.Status)
			}
		})
	}
}

// FuzzFraming checks what guard and Head promise of any head: if both accept it, its body
// is framed in one way, and fasthttp reads it in the same way.
func FuzzFraming(f *testing.F) {
	f.Add("POST /generate HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n")
	f.Add("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX: \r\n y\r\n\r\n")
	f.Add("POST / HTTP/1.1\nHost: a\n\nGET / HTTP/1.1\r\nHost: b\r\n\r\n")
	f.Add("T / HTTP/1.1\r\n\r")
	f.Fuzz(func(t *testing.T, wire string) {
		_ = headOf(wire) // a part of a head is parsed too, for the shape of its answer
		var g guard
		n, end, ok := g.pass([]byte(wire))
		if !end || !ok {
			return
		}
		h := headOf(wire[:n])
		g.begin(h)
		if h.fault != nil {
			return
		}
		raw := string(h.Block)
		require.NotContains(t, strings.ReplaceAll(raw, "\r\n", ""), "\n")
		require.NotContains(t, strings.ReplaceAll(raw, "\r\n", ""), "\r")
		require.NotContains(t, raw, "\x00")
		lower := strings.ToLower("\r\n" + raw)
		lengths := strings.Count(lower, "\r\ncontent-length:")
		codings := strings.Count(lower, "\r\ntransfer-encoding:")
		require.LessOrEqual(t, lengths+codings, 1)
		require.Equal(t, h.Length() != 0, g.inBody())
		var theirs fasthttp.RequestHeader
		if theirs.Read(bufio.NewReaderSize(strings.NewReader(wire), MaxHead)) != nil {
			return // fasthttp refuses more
		}
		require.Equal(t, string(theirs.RequestURI()), string(h.Target))
		require.Equal(t, string(theirs.Method()), string(h.Method))
	})
}
