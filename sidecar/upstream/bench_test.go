package upstream

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

// requestLines are what clients typically send.
const requestLines = "User-Agent: python-requests/2.32.3\r\nAccept-Encoding: gzip, deflate\r\nAccept: */*\r\n" +
	"Connection: keep-alive\r\nContent-Type: application/json\r\nContent-Length: 1024\r\nAuthorization: Bearer x\r\n"

const responseHead = "HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 00:00:00 GMT\r\nServer: uvicorn\r\nContent-Type: text/event-stream\r\n"

// echo serves one request after the other without parsing them: it waits for size bytes,
// writes the response in the given writes, and allocates nothing.
func echo(size int, writes [][]byte) func(*peer) {
	return func(p *peer) {
		buf := make([]byte, 64<<10)
		for got := 0; ; {
			n, err := p.Read(buf)
			if err != nil {
				return
			}
			if got += n; got < size {
				continue
			}
			got = 0
			for _, w := range writes {
				if _, err := p.Write(w); err != nil {
					return
				}
			}
		}
	}
}

// BenchmarkRoundTrip does one small request and answer on a kept connection, by this
// package and by fasthttp's client.
func BenchmarkRoundTrip(b *testing.B) {
	answer := [][]byte{[]byte(responseHead + "Content-Length: 300\r\n\r\n" + strings.Repeat("x", 300))}
	run(b, answer, 300)
}

// BenchmarkStream reads an answer of 100 chunks, each of them a write.
func BenchmarkStream(b *testing.B) {
	run(b, streamOf100(), 100*43)
}

// streamOf100 returns an answer of 100 events, a piece each.
func streamOf100() [][]byte {
	answer := [][]byte{[]byte(responseHead + "Transfer-Encoding: chunked\r\n\r\n")}
	for i := range 100 {
		event := fmt.Sprintf("data: {\"token\":{\"id\":%03d,\"text\":\" word\"}}\n\n", i)
		answer = append(answer, fmt.Appendf(nil, "%x\r\n%s\r\n", len(event), event))
	}
	return append(answer, []byte("0\r\n\r\n"))
}

func run(b *testing.B, answer [][]byte, want int) {
	body := bytes.Repeat([]byte("x"), 1024)
	header := headerOf(b, requestLines)
	b.Run("usher", func(b *testing.B) {
		head, err := (&Options{Host: "model"}).appendHead(nil, &Request{Header: header, Path: []byte("/generate"), RequestID: "0123456789abcdef", Body: body})
		require.NoError(b, err)
		m := listen(b, "tcp", echo(len(head)+len(body), answer))
		c := connect(b, m, nil)
		piece := make([]byte, 16<<10)
		b.ReportAllocs()
		for b.Loop() {
			resp, err := acquire(b, c).RoundTrip(&Request{Header: header, Path: []byte("/generate"), RequestID: "0123456789abcdef", Body: body})
			if err != nil {
				b.Fatal(err)
			}
			total := 0
			for err == nil {
				var n int
				n, err = resp.Read(piece)
				total += n
			}
			resp.Close()
			if err != io.EOF || total != want {
				b.Fatal(total, err)
			}
		}
	})
	b.Run("fasthttp", func(b *testing.B) {
		// Its head has another length: measure it on the wire.
		size := make(chan int, 1)
		m := listen(b, "tcp", func(p *peer) {
			if p.n == 0 {
				head, _, _ := p.request()
				size <- len(head) + len(body)
				_, _ = io.WriteString(p, hello)
				return
			}
			echo(<-size, answer)(p)
		})
		client := &fasthttp.HostClient{
			Addr: m.addr, StreamResponseBody: true, NoDefaultUserAgentHeader: true, ReadBufferSize: 16 << 10,
			Dial: func(addr string) (net.Conn, error) { return net.Dial("tcp", addr) },
		}
		client.MaxIdleConnDuration = 200 * time.Millisecond // its cleaner goroutine lives that long
		b.Cleanup(client.CloseIdleConnections)
		var req fasthttp.Request
		var resp fasthttp.Response
		fill := func() {
			_ = req.Header.Read(bufio.NewReader(io.MultiReader(strings.NewReader("POST / HTTP/1.1\r\n"), bytes.NewReader(header), strings.NewReader("\r\n"))))
			req.SetRequestURI("http://model/generate")
			req.Header.Set("X-Request-Id", "0123456789abcdef")
			req.SetBodyRaw(body)
		}
		resp.StreamBody = true
		piece := make([]byte, 16<<10)
		fill()
		req.SetConnectionClose()
		require.NoError(b, client.Do(&req, &resp))
		_ = resp.CloseBodyStream()
		size <- <-size - len("Connection: close\r\n")
		b.ReportAllocs()
		for b.Loop() {
			fill()
			if err := client.Do(&req, &resp); err != nil {
				b.Fatal(err)
			}
			total := 0
			var err error
			for err == nil {
				var n int
				n, err = resp.BodyStream().Read(piece)
				total += n
			}
			_ = resp.CloseBodyStream()
			if err != io.EOF || total != want {
				b.Fatal(total, err)
			}
		}
	})
}

// BenchmarkRequestHead builds a request head from the client's.
func BenchmarkRequestHead(b *testing.B) {
	o := Options{Host: "127.0.0.1:5001"}
	req := &Request{Header: headerOf(b, requestLines), Path: []byte("/generate"), RequestID: "0123456789abcdef"}
	buf := make([]byte, 0, 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := o.appendHead(buf[:0], req); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAllocations limits what a request allocates: the Conn, and little else.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	header := headerOf(t, requestLines)
	body := make([]byte, 1024)
	req := &Request{Header: header, Path: []byte("/generate"), RequestID: "r", Body: body}
	head, err := (&Options{Host: "model"}).appendHead(nil, req)
	require.NoError(t, err)
	m := listen(t, "tcp", echo(len(head)+len(body), [][]byte{[]byte(hello)}))
	c := connect(t, m, nil)
	piece := make([]byte, 100)
	got := testing.AllocsPerRun(200, func() {
		resp, err := acquire(t, c).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = resp.Read(piece)
		resp.Close()
	})
	require.LessOrEqual(t, got, 2.0)
}
