//go:build darwin || linux

package upstream

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// A refeed stands for a socket that brings the same pieces for every request,
// at once and without the system's work.
type refeed struct {
	cn     *Conn
	pieces [][]byte
	next   int
}

func (f *refeed) Read(func(uintptr) bool) error {
	l := f.cn.line
	if f.next == len(f.pieces) {
		l.err = io.EOF
		return nil
	}
	l.buf = l.buffers.Get().(*[]byte)
	l.from, l.to, l.err = 0, copy(*l.buf, f.pieces[f.next]), nil
	f.next++
	return nil
}

func (f *refeed) Write(func(uintptr) bool) error { return nil }
func (f *refeed) Control(func(uintptr)) error    { return nil }

// refed makes a refeed, with the use that reads from it.
func refed(b *testing.B, pieces ...[]byte) *refeed {
	c, err := New(Options{Network: "tcp", Address: "x", Host: "x"})
	require.NoError(b, err)
	f := &refeed{pieces: pieces}
	l := &line{nc: fedConn{f: new(feed)}, buffers: &c.buffers}
	l.raw = f
	f.cn = newConn(c, l, false)
	return f
}

// again begins the next response.
func (f *refeed) again() *Response {
	f.next = 0
	f.cn.response.begin(f.cn)
	return &f.cn.response
}

// BenchmarkResponseHead is reading a response head, and writing it for the
// client.
func BenchmarkResponseHead(b *testing.B) {
	f := refed(b, []byte(responseHead+"Content-Length: 0\r\n\r\n"))
	buf := make([]byte, 0, 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		resp := f.again()
		if err := resp.readHead(); err != nil {
			b.Fatal(err)
		}
		buf = resp.AppendHeader(buf[:0], nil)
		resp.detach(f.cn.line)
	}
}

// BenchmarkChunks is reading an answer of 100 chunks, each of which comes for
// itself.
func BenchmarkChunks(b *testing.B) {
	f := refed(b, streamOf100()...)
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
		resp.detach(f.cn.line)
	}
}
