package front

import (
	"testing"
)

// clientHead is a typical client's.
const clientHead = "POST /generate HTTP/1.1\r\nHost: 203.0.113.7:41234\r\nUser-Agent: python-requests/2.32.3\r\n" +
	"Accept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\nContent-Type: application/json\r\n" +
	"Content-Length: 1024\r\n\r\n"

// BenchmarkHead does everything that is done with a request's head, except for what
// fasthttp does.
func BenchmarkHead(b *testing.B) {
	wire := []byte(clientHead)
	var (
		g guard
		h Head
	)
	b.ReportAllocs()
	for b.Loop() {
		n, end, ok := g.pass(wire)
		if !ok || !end || n < len(wire) {
			b.Fatal(n)
		}
		h.add(wire)
		h.parse()
		g.begin(&h)
		g.took(int(h.Length()))
		if h.fault != nil || h.ID() == "" {
			b.Fatal(h.fault)
		}
		h.Release()
	}
}
