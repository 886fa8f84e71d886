package rig

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/loopback"
)

// A WireModel is a model server that deals in bytes: it keeps each request as it arrived
// and answers with bytes the test provides.
type WireModel struct {
	net.Listener
	answer func(c *net.TCPConn, name string) bool // to the request whose X-Case is name; whether to go on

	mu    sync.Mutex
	heads []string // as they came, but for the probes of its health
	conns int
}

func NewWireModel(t testing.TB, answer func(c *net.TCPConn, name string) bool) *WireModel {
	t.Helper()
	ln, err := loopback.Listen()
	require.NoError(t, err)
	m := &WireModel{Listener: ln, answer: answer}
	var serving sync.WaitGroup
	var open sync.Map
	serving.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			open.Store(c, true)
			serving.Go(func() { m.serve(c.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		open.Range(func(c, _ any) bool { _ = c.(net.Conn).Close(); return true })
		serving.Wait()
	})
	return m
}

func (m *WireModel) URL() string { return "http://" + m.Addr().String() }

func (m *WireModel) serve(c *net.TCPConn) {
	defer func() { _ = c.Close() }()
	var seen strings.Builder
	in := bufio.NewReader(io.TeeReader(c, &seen))
	first := true
	for {
		seen.Reset()
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		if req.Method == http.MethodGet {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			continue
		}
		head, _, _ := strings.Cut(seen.String(), "\r\n\r\n")
		m.mu.Lock()
		m.heads = append(m.heads, head+"\r\n")
		if first {
			m.conns++
			first = false
		}
		m.mu.Unlock()
		if !m.answer(c, req.Header.Get("X-Case")) {
			return
		}
	}
}

// Last returns the head of the latest request.
func (m *WireModel) Last() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.heads[len(m.heads)-1]
}

// Count returns how many requests have come.
func (m *WireModel) Count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.heads)
}
