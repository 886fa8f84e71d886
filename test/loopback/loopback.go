// Package loopback gives each server in a test an address of its own, so that nobody
// takes its port while it is down. On a shared address the kernel may give the port of a
// server that has died, or has yet to start, to a listener of another test, which is then
// mistaken for the server; to an outgoing connection, which keeps the server from coming
// back; or to the very connection that looks for the server, which is then connected to
// itself.
package loopback

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
	"syscall"
	"time"
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
func Listen() (net.Listener, error) { return ListenAt(net.JoinHostPort(Host(), "0")) }

// patience is how long a listener that was closed may take to be gone.
const patience = 10 * time.Second

// ListenAt listens at an address where a server of this process may have listened before.
// A process that was being started when that listener was closed keeps it until it is
// executed, since it begins as a copy of this one.
func ListenAt(address string) (net.Listener, error) {
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		ln, err := net.Listen("tcp", address)
		if err == nil {
			return ln, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(end) {
			return nil, fmt.Errorf("loopback: %w", err)
		}
	}
}

// Address returns a host and port where nobody listens, for a server that starts later or
// never.
func Address() (string, error) {
	if runtime.GOOS == "linux" {
		// Below the ports that the kernel hands out, so that nobody gets it by chance.
		return net.JoinHostPort(Host(), strconv.Itoa(10000+rand.N(10000))), nil
	}
	ln, err := Listen()
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}
