// Package loopback gives a server in a test an address that is its own, also while
// the server is away: the port of one that has died or is yet to start is nobody's
// by chance. On an address that is shared, the kernel gives that port to whoever
// asks next: to a listener of another test, which is then taken for the server; to
// a connection that goes out, and keeps the server from coming back; or to the very
// connection that looks for the server, which is then connected to itself.
package loopback

import (
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
)

// Host returns an address of 127.0.0.0/8, one of millions, at random: connections
// go out from 127.0.0.1, and what listens elsewhere has to come here by its name.
// Other systems than Linux have 127.0.0.1 alone.
func Host() string {
	if runtime.GOOS != "linux" {
		return "127.0.0.1"
	}
	return fmt.Sprintf("127.%d.%d.%d", 1+rand.N(254), rand.N(256), 1+rand.N(254))
}

// Listen listens at an address of its own, where the same server may listen again
// after it.
func Listen() (net.Listener, error) {
	ln, err := net.Listen("tcp", net.JoinHostPort(Host(), "0"))
	if err != nil {
		return nil, fmt.Errorf("loopback: %w", err)
	}
	return ln, nil
}

// Address returns host and port at which nobody listens, for a server that starts
// later, or never.
func Address() (string, error) {
	ln, err := Listen()
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}
