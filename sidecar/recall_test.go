package sidecar

import (
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

// fasthttp has given the memory that it read a head into to another connection
// by the time it says that the head was none.
func TestRecallIsTheConnectionsOwn(t *testing.T) {
	client, server := net.Pipe()
	defer func() { _ = client.Close() }()
	go func() { // ends with the read below
		_, _ = io.WriteString(client, "POST /mine HTTP/9\r\nOrigin: https://mine\r\nX-Request-Id: mine\r\n\r\n")
	}()
	c := newConn(server, nil)
	lent := make([]byte, readBufferSize)
	n, err := c.Read(lent)
	require.NoError(t, err)
	copy(lent[:n], "POST /another HTTP/1.1\r\nOrigin: https://another\r\nX-Request-Id: another\r\n\r\n")

	var h fasthttp.RequestHeader
	c.recall(&h)
	require.Equal(t, "/mine", string(h.RequestURI()))
	require.Equal(t, "https://mine", string(h.Peek(fasthttp.HeaderOrigin)))
	require.Equal(t, "mine", string(h.Peek(headerRequestID)))
}
