package modelserver

import (
	"bytes"
	"net"
	"sync"
)

type (
	connKey   struct{}
	recordKey struct{}
)

// A listener hands out numbered connections that the server can cut.
type listener struct {
	net.Listener
	server *Server
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	inner, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	s := l.server
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total++
	c := &conn{Conn: inner, server: s, number: s.total}
	s.conns[c] = struct{}{}
	if s.options.Tap {
		s.tapped = append(s.tapped, c)
	}
	return c, nil
}

// A conn is a client's connection.
type conn struct {
	net.Conn
	server *Server
	number int // from 1

	mu       sync.Mutex
	received []byte
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.server.options.Tap {
		c.mu.Lock()
		c.received = append(c.received, p[:n]...)
		c.mu.Unlock()
	}
	return n, err
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.server.mu.Lock()
	delete(c.server.conns, c)
	c.server.mu.Unlock()
	return c.Conn.Close()
}

// reset closes the connection with a reset; a Unix socket knows only a close.
func (c *conn) reset() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// Connections returns how many connections are open now and how many there have been.
func (s *Server) Connections() (open, total int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns), s.total
}

// Received returns every byte received on a connection. Connections are numbered from
// 1. It returns nil without Options.Tap or if there is no such connection.
func (s *Server) Received(connection int) []byte {
	s.mu.Lock()
	if connection < 1 || connection > len(s.tapped) {
		s.mu.Unlock()
		return nil
	}
	c := s.tapped[connection-1]
	s.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.received)
}
