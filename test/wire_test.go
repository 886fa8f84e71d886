package test

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

func itoa(n int) string { return strconv.Itoa(n) }

// A wire is a client connection on which the test writes the bytes.
type wire struct {
	t testing.TB
	net.Conn
	in *bufio.Reader
}

func dial(t testing.TB, address string) *wire {
	t.Helper()
	c, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	return &wire{t, c, bufio.NewReader(c)}
}

func (w *wire) write(s string) {
	w.t.Helper()
	_, err := io.WriteString(w.Conn, s)
	require.NoError(w.t, err)
}

func (w *wire) request(method, path string, body []byte) {
	w.t.Helper()
	head := method + " " + path + " HTTP/1.1\r\nHost: usher\r\n"
	if body != nil {
		head += "Content-Length: " + itoa(len(body)) + "\r\n"
	}
	w.write(head + "\r\n" + string(body))
}

// response reads one whole response as text: status, and body.
func (w *wire) response() string {
	w.t.Helper()
	resp, err := http.ReadResponse(w.in, nil)
	require.NoError(w.t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	return resp.Status + "\n" + string(body)
}

// closed reports whether the other side has closed, waiting for it.
func (w *wire) closed() bool {
	_, err := w.in.ReadByte()
	return err == io.EOF
}

// refused reports whether nobody listens.
func refused(address string) bool {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return true
	}
	_ = c.Close()
	return false
}

// head is the head of a request with a body of the length given.
func head(length int) string {
	return "POST /generate HTTP/1.1\r\nHost: usher\r\nContent-Length: " + itoa(length) + "\r\n\r\n"
}
