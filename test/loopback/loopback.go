// Package loopback gives each server in a test an address of its own, so that nobody
// takes its port while it is down. On a shared address the kernel may give the port of a
// server that has died, or has yet to start, to a listener of another test, which is then
// mistaken for the server; to an outgoing connection, which keeps the server from coming
// back; or to the very connection that looks for the server, which is then connected to
// itself.
package loopback

import (
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
)

// Host returns a random address of 127.0.0.0/8, one of millions. Outgoing connections
// come from 127.0.0.1, and nobody listens here without having asked for this address.
// Systems other than Linux have 127.0.0.1 alone.
func Host() string {
	if runtime.GOOS != "linux" {
		return "127.0.0.1"
	}
	return fmt.Sprintf("127.%d.%d.%d", 1+rand.N(254), rand.N(256), 1+rand.N(254))
}

// Listen listens at an address of its own, where the same server can listen again later.
func Listen() (net.Listener, error) {
	ln, err := net.Listen("tcp", net.JoinHostPort(Host(), "0"))
	if err != nil {
		return nil, fmt.Errorf("loopback: %w", err)
	}
	return ln, nil
}

// Address returns a host and port where nobody listens, for a server that starts later or
// never.
func Address() (string, error) {
	ln, err := Listen()
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}
