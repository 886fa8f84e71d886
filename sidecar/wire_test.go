package sidecar

import (
	"bufio"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
	"pgregory.net/rapid"
)

const chunkedHead = "POST /generate HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

func TestWireGuard(t *testing.T) {
	const plain = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
	tests := []struct{ name, good, bad string }{
		{"requests in a row", plain + plain + "GET / HTTP/1.1\r\n\r\n" + plain, ""},
		{"empty lines between", plain + "\r\n\n" + plain, ""},
		{"line ends in a body are the body's", "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n\n\n\n" + plain, ""},
		{"chunks", chunkedHead + "3\r\nabc\r\nA;x\r\n0123456789\r\n0\r\n\r\n" + plain, ""},
		{"a trailer", chunkedHead + "0\r\nX: y\r\nZ:\t\xff\r\n\r\n" + plain, ""},
		{"two framings are not the guard's", "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nzz\n", ""},
		{"bare LF after the request line", "GET / HTTP/1.1", "\nHost: a\r\n\r\n"},
		{"bare LF after a field", plain + "GET / HTTP/1.1\r\nHost: a", "\n\r\n"},
		{"bare LF as the empty line", "GET / HTTP/1.1\r\nHost: a\r\n", "\n"},
		{"no digit", chunkedHead, "g\r\n"},
		{"a blank after the size", chunkedHead + "3", " \r\nabc"},
		{"too many digits", chunkedHead + "1" + strings.Repeat("0", maxChunkDigits-1), "0\r\n"},
		{"bare LF after the size", chunkedHead + "3", "\nabc"},
		{"bare CR after the size", chunkedHead + "3\r", "abc"},
		{"too much data", chunkedHead + "3\r\nabc", "d\r\n"},
		{"a control byte in an extension", chunkedHead + "3;a", "\x00\r\n"},
		{"too long an extension", chunkedHead + "3;" + strings.Repeat("a", maxChunkLine-2), "a"},
		{"more framing than data", chunkedHead + strings.Repeat("1;"+strings.Repeat("a", 2000)+"\r\nx\r\n", 8) + "1;" + strings.Repeat("a", 2000) + "\r", "\nx"},
		{"a trailer without a name", chunkedHead + "0\r\n", ": a\r\n\r\n"},
		{"a trailer without a colon", chunkedHead + "0\r\nX", "\r\n\r\n"},
		{"a folded trailer", chunkedHead + "0\r\nX: a\r\n", " b\r\n\r\n"},
		{"bare LF in trailers", chunkedHead + "0\r\nX: a", "\n\r\n"},
		{"bare LF at the end", chunkedHead + "0\r\n", "\n"},
		{"too large trailers", chunkedHead + "0\r\nX:" + strings.Repeat("a", maxTrailer-2), "a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				var g wireGuard
				stream, passed := tt.good+tt.bad, 0
				for passed < len(stream) {
					n := rapid.IntRange(1, len(stream)-passed).Draw(t, "piece")
					ok := g.pass([]byte(stream[passed : passed+n]))
					passed += ok
					if ok < n {
						break
					}
				}
				want := len(tt.good)
				require.Equal(t, want, passed, "%q", stream[:passed])
			})
		})
	}
}

// FuzzWireGuard holds that guard and fasthttp agree: where both take a chunked
// request, it ends at the same byte for both, and the bytes in front of that do
// not depend on how they came.
func FuzzWireGuard(f *testing.F) {
	f.Add("3\r\nabc\r\n0\r\n\r\n", 7)
	f.Add("3;x\r\nabc\r\n0\r\nX: y\r\n\r\nPOST", 1)
	f.Add("0\r\n\n", 3)
	f.Add("1 \r\na\r\n0\r\n\r\n", 100)
	f.Fuzz(func(t *testing.T, body string, cut int) {
		var g wireGuard
		stream := []byte(chunkedHead + body)
		cut = min(max(cut, 0), len(stream))
		passed := g.pass(stream[:cut])
		if passed == cut {
			passed += g.pass(stream[cut:])
		}
		var whole wireGuard
		require.Equal(t, whole.pass(stream), passed)

		var c chunkGuard
		end, ended, _ := c.pass([]byte(body))
		if !ended {
			return
		}
		in := bufio.NewReaderSize(strings.NewReader(body), readBufferSize)
		var req fasthttp.Request
		head := bufio.NewReader(io.MultiReader(strings.NewReader(chunkedHead), in))
		if req.Read(head) != nil {
			return // fasthttp refuses more: names that must not be trailers, many zeros
		}
		rest, err := io.ReadAll(head)
		require.NoError(t, err)
		require.Equal(t, body[end:], string(rest))
	})
}
