//go:build !linux

package hangup

import (
	"errors"
	"net"
	"syscall"
)

// A watcher stands in for epoll: a hang-up is noticed only when the connection is read or
// written.
type watcher struct{ closed chan struct{} }

func newWatcher() (*watcher, error) { return &watcher{closed: make(chan struct{})}, nil }

// add sets the options of a new connection, as far as the system allows.
func (w *watcher) add(c *net.TCPConn, _ uint64, o Options) error {
	_ = c.SetKeepAliveConfig(net.KeepAliveConfig{
		Enable: o.KeepAlive > 0, Idle: o.firstProbe(),
		Interval: o.firstProbe() / keepAliveProbes, Count: keepAliveProbes,
	})
	return nil
}

func (w *watcher) run(func(token uint64)) { <-w.closed }

func (w *watcher) close() { close(w.closed) }

// isTemporary reports whether accept may succeed when it is tried again.
func isTemporary(err error) bool {
	for _, number := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.ECONNRESET,
	} {
		if errors.Is(err, number) {
			return true
		}
	}
	return false
}
