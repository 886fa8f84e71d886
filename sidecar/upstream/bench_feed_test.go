package upstream

import (
	"io"
	"testing"
)

// A refeed stands in for a connection that delivers the same pieces for every request, at
// once and without system calls.
type refeed struct {
	feed
	cn     *Conn
	pieces [][]byte
	next   int
}

func (f *refeed) Read(p []byte) (int, error) {
	if f.next == len(f.pieces) {
		return 0, io.EOF
	}
	f.next++
	return copy(p, f.pieces[f.next-1]), nil
}

// refed makes a refeed, with the use that reads from it.
func refed(pieces ...[]byte) *refeed {
	f := &refeed{pieces: pieces}
	f.cn = use(f)
	return f
}

// again begins the next response.
func (f *refeed) again() *Response {
	f.next = 0
	f.cn.response.begin(f.cn)
	return &f.cn.response
}

// BenchmarkResponseHead reads a response head, and writes it for the client.
func BenchmarkResponseHead(b *testing.B) {
	f := refed([]byte(responseHead + "Content-Length: 0\r\n\r\n"))
	buf := make([]byte, 0, 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		resp := f.again()
		if err := resp.readHead(); err != nil {
			b.Fatal(err)
		}
		buf = resp.AppendHeader(buf[:0], nil)
		resp.detach()
	}
}

// BenchmarkChunks reads an answer of 100 chunks, each of which arrives separately.
func BenchmarkChunks(b *testing.B) {
	f := refed(streamOf100()...)
	piece := make([]byte, 16<<10)
	b.ReportAllocs()
	for b.Loop() {
		resp := f.again()
		err := resp.readHead()
		total := 0
		for err == nil {
			if err = resp.Wait(); err == nil {
				var n int
				n, err = resp.Read(piece)
				total += n
			}
		}
		if err != io.EOF || total != 100*43 {
			b.Fatal(total, err)
		}
		resp.detach()
	}
}
