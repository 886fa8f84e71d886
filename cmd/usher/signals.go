package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"go.uber.org/zap"
)

// signals are those that serve handles. Each kind has room of its own, so that no number
// of reloads makes one that ends the process get lost.
type signals struct{ end, reload chan os.Signal }

// catchSignals keeps the signals until obey, and from ending the process for good: once
// it ends as it should, another one must not change its exit status.
func catchSignals() signals {
	s := signals{end: make(chan os.Signal, 2), reload: make(chan os.Signal, 1)}
	signal.Notify(s.end, syscall.SIGTERM, syscall.SIGINT)
	signal.Notify(s.reload, syscall.SIGHUP)
	return s
}

// A server is what the signals are for.
type server interface {
	Reload() // may take long
	Abort()
}

// obey cancels the returned context on SIGTERM or SIGINT, calls Abort on a second one, and
// Reload on SIGHUP, until stop. That does not wait for a reload, which may hang in a dead
// file system and must not keep the process from ending.
func (s signals) obey(of server, log *zap.Logger) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	each := func(caught <-chan os.Signal, do func()) {
		for {
			select {
			case got := <-caught:
				log.Info("signal", zap.String("signal", got.String()))
				do()
			case <-done:
				return
			}
		}
	}
	go each(s.reload, of.Reload)
	go each(s.end, func() {
		if ctx.Err() == nil {
			cancel()
		} else {
			of.Abort()
		}
	})
	return ctx, func() {
		close(done)
		cancel()
	}
}
