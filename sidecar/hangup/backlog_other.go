//go:build !linux

package hangup

import "net"

// backlog is unknown on these systems.
func backlog(net.Listener) bool { return false }
