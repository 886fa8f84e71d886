package sidecar

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/sidecar/admin"
	"github.com/usher-sidecar/usher/sidecar/hangup"
	"github.com/usher-sidecar/usher/sidecar/proxy"
)

// Listen binds the public and the admin address, and that of the profiles.
func (s *Sidecar) Listen() error {
	adminListener, err := net.Listen("tcp", s.cfg.AdminAddr)
	if err != nil {
		return fmt.Errorf("USHER_ADMIN_ADDR: %w", err)
	}
	// hangup sets the keep-alive of each connection; Go's own would be set before it.
	public, err := (&net.ListenConfig{KeepAlive: -1}).Listen(context.Background(), "tcp", s.cfg.ListenAddr)
	if err != nil {
		_ = adminListener.Close()
		return fmt.Errorf("USHER_LISTEN_ADDR: %w", err)
	}
	s.adminListener = adminListener
	if s.cfg.PprofAddr != "" {
		if s.profiler, err = admin.NewProfiler(s.cfg.PprofAddr); err != nil {
			_ = adminListener.Close()
			_ = public.Close()
			return err
		}
		s.log.Info("profiles are served", zap.String("addr", s.profiler.Addr().String()))
	}
	s.public, err = hangup.Listen(public, hangup.Options{
		MaxConnections: s.connections,
		MaxPerIP:       s.cfg.MaxConnectionsPerIP,
		Uncounted:      proxy.Trusted(s.cfg.TrustedProxies).Has,
		WriteTimeout:   s.cfg.WriteTimeout,
	})
	if err != nil {
		_ = adminListener.Close()
		_ = public.Close()
		if s.profiler != nil {
			s.profiler.Close()
		}
		return err
	}
	s.log.Info("listening", zap.String("public", s.PublicAddr().String()), zap.String("admin", s.AdminAddr().String()),
		zap.Bool("tls", s.certificates != nil), zap.String("version", s.version.Number))
	return nil
}

// PublicAddr is where clients connect; valid after Listen.
func (s *Sidecar) PublicAddr() net.Addr { return s.public.Addr() }

// AdminAddr is where operators look; valid after Listen.
func (s *Sidecar) AdminAddr() net.Addr { return s.adminListener.Addr() }

// Run serves until ctx ends, then drains. It returns nil when every request
// finished, ErrCut when some were cut, and whatever made serving impossible.
func (s *Sidecar) Run(ctx context.Context) error {
	defer s.close()
	work, stop := context.WithCancel(context.Background())
	var workers sync.WaitGroup
	s.startWorkers(work, &workers)
	server := s.admin.HTTP(zap.NewStdLog(s.log.WithOptions(zap.IncreaseLevel(zap.ErrorLevel))))
	failed := s.startListeners(server, &workers)

	var err error
	select {
	case <-ctx.Done():
		err = s.drain.run()
	case err = <-failed:
		s.drain.abort()
		_ = s.drain.run()
	}
	// The admin listener answers to the very end.
	shut, cancel := context.WithTimeout(context.Background(), time.Second)
	_ = server.Shutdown(shut)
	cancel()
	_ = server.Close()
	if s.profiler != nil {
		s.profiler.Close()
	}
	s.public.Shutdown()
	s.model.streams.close()
	stop()
	workers.Wait()
	return err
}

// startWorkers starts what goes on beside the requests, until work ends; the
// streams' loops until they are closed.
func (s *Sidecar) startWorkers(work context.Context, workers *sync.WaitGroup) {
	workers.Go(func() {
		if err := reserveDescriptors(s.connections); err != nil {
			s.log.Debug("no room was made for descriptors", zap.Error(err))
		}
	})
	workers.Go(func() { _ = s.model.prober.Run(work) })
	workers.Go(func() { _ = s.refresher.Run(work) })
	workers.Go(func() { s.sampler.run(work) })
	workers.Go(func() { s.comeback.run(work) })
	workers.Go(func() { s.ledger.Run(work) })
	workers.Go(func() { _ = s.admin.Run(work) })
	workers.Go(func() { s.reports.run(work) })
	workers.Go(func() { s.sessions.run(work) })
	if s.engine != nil {
		workers.Go(func() { _ = s.engine.Run(work) })
	}
	workers.Go(s.model.streams.run)
	if s.certificates != nil {
		workers.Go(func() { s.certificates.run(work) })
	}
}

// startListeners serves all listeners, each until it is closed. The channel holds
// why one ended before.
func (s *Sidecar) startListeners(server *http.Server, workers *sync.WaitGroup) <-chan error {
	failed := make(chan error, 3) // one each: none of them waits
	if s.profiler != nil {
		workers.Go(func() {
			if err := s.profiler.Run(); err != nil {
				failed <- err
			}
		})
	}
	workers.Go(func() {
		if err := server.Serve(s.adminListener); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("admin listener: %w", err)
		}
	})
	workers.Go(func() {
		if err := s.front.Serve(s.public); err != nil {
			failed <- fmt.Errorf("public listener: %w", err)
		}
	})
	return failed
}

// Reload re-reads the key and the certificate.
func (s *Sidecar) Reload() {
	s.refresher.Poke()
	if s.certificates != nil {
		s.certificates.reload(true)
	}
}

// Abort cuts every request in flight, now.
func (s *Sidecar) Abort() { s.drain.abort() }
