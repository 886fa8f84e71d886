package rig

import (
	"bufio"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/loopback"
)

// RawModel is a model server that answers health checks itself and hands every other
// connection to serve with nothing read from it yet. It closes the connection when serve
// returns.
func RawModel(t testing.TB, serve func(c net.Conn, in *bufio.Reader)) (url string) {
	t.Helper()
	l, err := loopback.Listen()
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				in := bufio.NewReader(c)
				if first, err := in.Peek(3); err != nil || string(first) == "GET" {
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
					return
				}
				serve(c, in)
			}()
		}
	}()
	return "http://" + l.Addr().String()
}
