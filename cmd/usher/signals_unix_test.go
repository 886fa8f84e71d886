//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// hanging is a server whose reload does not end before the test.
type hanging struct{ begun, end, aborted chan struct{} }

func (h *hanging) Reload() { h.begun <- struct{}{}; <-h.end }
func (h *hanging) Abort()  { close(h.aborted) }

// However many reloads are asked for, and however long one takes, a signal that ends the
// process is obeyed, and so is a second one.
func TestReloadsDoNotHoldUpTheEnd(t *testing.T) {
	send := func(s syscall.Signal) { require.NoError(t, syscall.Kill(os.Getpid(), s)) }
	s := catchSignals()
	defer signal.Stop(s.end)
	defer signal.Stop(s.reload)
	h := &hanging{make(chan struct{}, 2), make(chan struct{}), make(chan struct{})}
	defer close(h.end)
	for range 5 { // while it starts
		send(syscall.SIGHUP)
	}
	ctx, stop := s.obey(h, zap.NewNop())
	defer stop()
	await(t, "reload", h.begun)
	for range 5 {
		send(syscall.SIGHUP)
	}
	send(syscall.SIGTERM)
	await(t, "end", ctx.Done())
	send(syscall.SIGTERM)
	await(t, "abort", h.aborted)
}

func await(t *testing.T, what string, happened <-chan struct{}) {
	t.Helper()
	select {
	case <-happened:
	case <-time.After(time.Minute):
		require.FailNow(t, "it does not happen", what)
	}
}
