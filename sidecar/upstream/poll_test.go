//go:build darwin || linux

package upstream

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// scripted returns a response whose body the test writes to server.
func scripted(t *testing.T, head string) (resp *Response, server *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = ln.Close() }()
	c, err := New(Options{Network: "tcp", Address: ln.Addr().String(), Host: "model"})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	cn, err := c.Acquire(t.Context())
	require.NoError(t, err)
	t.Cleanup(cn.Release)
	accepted, err := ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = accepted.Close() })
	_, err = io.WriteString(accepted, head)
	require.NoError(t, err)
	resp, err = cn.RoundTrip(&Request{Path: []byte("/generate_stream"), Body: []byte("{}")})
	require.NoError(t, err)
	_, err = accepted.Read(make([]byte, 4<<10)) // otherwise closing it would be a reset
	require.NoError(t, err)
	return resp, accepted.(*net.TCPConn)
}

// polled reads as a loop does, until want or an end has arrived. Each Look follows an
// event.
func polled(t *testing.T, resp *Response, final bool, want string) (got string, err error) {
	t.Helper()
	require.True(t, resp.CanPoll())
	buf := make([]byte, 5)
	for deadline := time.Now().Add(10 * time.Second); err == nil && (got != want || final); {
		require.True(t, time.Now().Before(deadline), "%q has come", got)
		resp.Arrived(final)
		for err == nil && resp.Look() {
			var n int
			n, err = resp.Read(buf)
			got += string(buf[:n])
		}
	}
	return got, err
}

// Look reads the same body as Wait: chunks in pieces, data that comes with the end or a
// reset, and broken bodies.
func TestLook(t *testing.T) {
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, tt := range map[string]struct {
		head, first, gives, last, lastGives string
		end                                 string // of the connection: "FIN", "RST"; "": none
		err                                 error
		kept                                bool
	}{
		"chunks":                 {chunked, "3\r\nab", "ab", "c\r\n0\r\n\r\n", "c", "", io.EOF, true},
		"trailers":               {chunked, "1\r\na\r\n", "a", "0\r\nX: 1\r\n\r\n", "", "", io.EOF, true},
		"a stray byte":           {chunked, "1\r\na\r\n", "a", "0\r\n\r\nx", "", "", io.EOF, false},
		"length":                 {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "abc", "abc", "defghi", "defghi", "", io.EOF, true},
		"by close":               {"HTTP/1.1 200 OK\r\n\r\n", "abc", "abc", "def", "def", "FIN", io.EOF, false},
		"chunks with FIN":        {chunked, "1\r\na\r\n", "a", "1\r\nb\r\n0\r\n\r\n", "b", "FIN", io.EOF, true},
		"FIN within a chunk":     {chunked, "1\r\na\r\n", "a", "ff\r\nhalf", "half", "FIN", ErrBroken, false},
		"FIN between two chunks": {chunked, "1\r\na\r\n", "a", "1\r\nb\r\n", "b", "FIN", ErrBroken, false},
		"RST":                    {chunked, "1\r\na\r\n", "a", "", "", "RST", ErrBroken, false},
		"no chunk":               {chunked, "1\r\na\r\n", "a", "0x0\r\n", "", "", ErrBroken, false},
	} {
		t.Run(name, func(t *testing.T) {
			resp, server := scripted(t, tt.head)
			client := resp.cn.client
			resp.Arrived(false)
			require.False(t, resp.Look(), "nothing has arrived")
			_, err := io.WriteString(server, tt.first)
			require.NoError(t, err)
			got, err := polled(t, resp, false, tt.gives)
			require.NoError(t, err)
			require.Equal(t, tt.gives, got)
			require.False(t, resp.Look(), "everything was read")
			_, err = io.WriteString(server, tt.last)
			require.NoError(t, err)
			switch tt.end {
			case "RST":
				require.NoError(t, server.SetLinger(0))
				fallthrough
			case "FIN":
				require.NoError(t, server.Close())
			}
			got, err = polled(t, resp, true, "")
			require.Equal(t, tt.lastGives, got)
			require.ErrorIs(t, err, tt.err)
			if errors.Is(err, io.EOF) && tt.last != "" && tt.last[len(tt.last)-1] == 'x' {
				// The stray byte may arrive after the Look that saw the end.
				require.NotEmpty(t, resp.cn.line.ahead.Bytes())
			}
			resp.Close()
			require.Equal(t, tt.kept, client.Stats().Idle == 1)
		})
	}
}

// The next Look tells of a Cancel, and of Silent.
func TestLookAfterTheEnd(t *testing.T) {
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, tt := range map[string]struct {
		end  func(*Response)
		want error
	}{
		"cancelled": {func(r *Response) { r.cn.Cancel(); r.Arrived(false) }, ErrCanceled},
		"silent":    {(*Response).Silent, ErrTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			resp, _ := scripted(t, chunked)
			require.False(t, resp.Look())
			tt.end(resp)
			require.True(t, resp.Look())
			_, err := resp.Read(make([]byte, 1))
			require.ErrorIs(t, err, tt.want, fmt.Sprint(err))
			resp.Close()
		})
	}
}
