//go:build !darwin && !linux

package hangup

import "net"

// A socket elsewhere is net.TCPConn alone.
type socket struct{}

func (*socket) prepare(*net.TCPConn) error { return nil }
func (*socket) silent() bool               { return true }

// Read reads what is here, and waits where nothing is.
func (c *Conn) Read(p []byte) (int, error) { return c.woke(c.TCPConn.Read(p)) }
