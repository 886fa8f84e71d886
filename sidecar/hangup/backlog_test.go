//go:build darwin || linux

package hangup

import (
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Clients that are connected when the listener is to close are accepted first.
func TestFinishAcceptsTheBacklog(t *testing.T) {
	const clients = 5
	ln := listen(t, Options{MaxConnections: clients})
	for range clients {
		dial(t, ln)
	}
	finished := make(chan error, 1)
	go func() { finished <- ln.Finish(time.Minute) }()
	for range clients {
		time.Sleep(5 * time.Millisecond) // not in a hurry
		_, err := ln.Accept()
		require.NoError(t, err)
	}
	require.NoError(t, <-finished)
	_, err := ln.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = net.Dial("tcp", ln.Addr().String())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.Equal(t, clients, ln.Stats().Open)
}

// Clients that nobody accepts do not keep the listener open, and a Close ends the wait.
func TestFinishIsBounded(t *testing.T) {
	for name, limit := range map[string]time.Duration{"limit": 20 * time.Millisecond, "close": time.Hour} {
		t.Run(name, func(t *testing.T) {
			ln := listen(t, Options{})
			dial(t, ln)
			begun := time.Now()
			if name == "close" {
				time.AfterFunc(20*time.Millisecond, func() { _ = ln.Close() })
			}
			_ = ln.Finish(limit)
			require.GreaterOrEqual(t, time.Since(begun), 20*time.Millisecond)
			_, err := ln.Accept()
			require.ErrorIs(t, err, net.ErrClosed)
		})
	}
}
