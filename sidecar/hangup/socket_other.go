//go:build !darwin && !linux

package hangup

import "net"

// A socket elsewhere is net.TCPConn alone.
type socket struct{}

func (*socket) prepare(*net.TCPConn) error { return nil }
