package rig

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func Itoa(n int) string { return strconv.Itoa(n) }

// A Wire is a client connection on which the test itself writes the bytes.
type Wire struct {
	T testing.TB
	net.Conn
	In *bufio.Reader
}

func Dial(t testing.TB, address string) *Wire {
	t.Helper()
	c, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(Patience)))
	return &Wire{t, c, bufio.NewReader(c)}
}

func (w *Wire) Send(s string) {
	w.T.Helper()
	_, err := io.WriteString(w.Conn, s)
	require.NoError(w.T, err)
}

func (w *Wire) Request(method, path string, body []byte) {
	w.T.Helper()
	head := method + " " + path + " HTTP/1.1\r\nHost: usher\r\n"
	if body != nil {
		head += "Content-Length: " + Itoa(len(body)) + "\r\n"
	}
	w.Send(head + "\r\n" + string(body))
}

// Response reads one whole response and returns its status and body as text.
func (w *Wire) Response() string {
	w.T.Helper()
	resp, err := http.ReadResponse(w.In, nil)
	require.NoError(w.T, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(w.T, err)
	return resp.Status + "\n" + string(body)
}

// Closed waits for the other side to close, and reports whether it has.
func (w *Wire) Closed() bool {
	_, err := w.In.ReadByte()
	return err == io.EOF
}

// Refused reports whether connections to an address are refused.
func Refused(address string) bool {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return true
	}
	_ = c.Close()
	return false
}

// Head is the head of a request with a body of the length given.
func Head(length int) string {
	return "POST /generate HTTP/1.1\r\nHost: usher\r\nContent-Length: " + Itoa(length) + "\r\n\r\n"
}
