package sidecar

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/sidecar/burst"
)

// Listen binds the addresses of the public listener, the admin listener and, if
// configured, the profiler.
func (s *Sidecar) Listen() error {
	if err := s.bind(s.cfg, s.log); err != nil {
		return err
	}
	s.log.Info("listening", zap.String("public", s.PublicAddr().String()), zap.String("admin", s.AdminAddr().String()),
		zap.Bool("tls", s.certificates != nil), zap.String("version", s.version.Number))
	return nil
}

// Run serves until ctx ends, then drains. It returns nil when every request
// finished, ErrCut when some were cut, and whatever made serving impossible.
func (s *Sidecar) Run(ctx context.Context) error {
	defer s.close()
	work, stop := context.WithCancel(context.Background())
	var workers sync.WaitGroup
	s.startWorkers(work, &workers)
	server := s.admin.HTTP(zap.NewStdLog(s.log.WithOptions(zap.IncreaseLevel(zap.ErrorLevel))))
	failed := s.listeners.serve(server, &workers)

	var err error
	select {
	case <-ctx.Done():
		err = s.drain.run()
	case err = <-failed:
		s.drain.abort()
		_ = s.drain.run()
	}
	// The admin listener answers until everything else has ended.
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

// startWorkers starts the background work, which ends when work does; the loops of
// streams end when they are closed.
func (s *Sidecar) startWorkers(work context.Context, workers *sync.WaitGroup) {
	workers.Go(func() {
		if err := reserveDescriptors(s.connections); err != nil {
			s.log.Debug("descriptor table not enlarged", zap.Error(err))
		}
	})
	workers.Go(func() { _ = s.model.prober.Run(work) })
	workers.Go(func() { _ = s.refresher.Run(work) })
	workers.Go(func() { s.sampler.run(work) })
	workers.Go(func() { burst.Run(work, s.model.flowing) })
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

// Reload re-reads the key and the certificate.
func (s *Sidecar) Reload() {
	s.refresher.Poke()
	if s.certificates != nil {
		s.certificates.reload(true)
	}
}

// Abort cuts every request in flight, now.
func (s *Sidecar) Abort() { s.drain.abort() }
