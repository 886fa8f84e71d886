package sidecar

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"

	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/config"
	"github.com/usher-sidecar/usher/sidecar/admin"
	"github.com/usher-sidecar/usher/sidecar/front"
	"github.com/usher-sidecar/usher/sidecar/hangup"
	"github.com/usher-sidecar/usher/sidecar/proxy"
)

// listeners holds the sockets and servers that clients and operators connect to.
type listeners struct {
	front         *front.Server
	certificates  *certificates // nil without TLS
	public        *hangup.Listener
	connections   int    // of clients at once
	crowding      string // a warning that they are fewer than configured; "": they are not
	adminListener net.Listener
	profiler      *admin.Profiler // nil: none
}

// prepare reads the certificates and works out how many connections there may be.
func (l *listeners) prepare(cfg *config.Config, log *zap.Logger) (err error) {
	descriptors, others := descriptorLimit(), loopsWanted()-1 // the first one is always counted
	if cfg.MaxSessions > 0 {
		others += closingsAtOnce
	}
	if len(cfg.OpenRoutes) > 0 {
		others += cfg.OpenConcurrency
	}
	l.connections, l.crowding = limitConnections(descriptors, cfg.MaxConnections, cfg.MaxConcurrency, others)
	if l.crowding != "" {
		log.Warn("USHER_MAX_CONNECTIONS is lowered to what the descriptor limit allows",
			zap.Int("from", cfg.MaxConnections), zap.Int("to", l.connections), zap.Uint64("descriptors", descriptors))
	}
	l.certificates, err = openCertificates(cfg.TLS, log)
	return err
}

// bind binds the public and the admin address, and that of the profiles.
func (l *listeners) bind(cfg *config.Config, log *zap.Logger) (err error) {
	var opened []func() error // closes what has been bound, should a later step fail
	defer func() {
		if err != nil {
			for _, undo := range opened {
				_ = undo()
			}
		}
	}()
	l.adminListener, err = net.Listen("tcp", cfg.AdminAddr)
	if err != nil {
		return fmt.Errorf("USHER_ADMIN_ADDR: %w", err)
	}
	opened = append(opened, l.adminListener.Close)
	// hangup sets each connection's keep-alive; Go would set its own first.
	public, err := (&net.ListenConfig{KeepAlive: -1}).Listen(context.Background(), "tcp", cfg.ListenAddr)
	if err != nil {
		return fmt.Errorf("USHER_LISTEN_ADDR: %w", err)
	}
	opened = append(opened, public.Close)
	if cfg.PprofAddr != "" {
		if l.profiler, err = admin.NewProfiler(cfg.PprofAddr); err != nil {
			return err
		}
		opened = append(opened, func() error { l.profiler.Close(); return nil })
		log.Info("profiles are served", zap.String("addr", l.profiler.Addr().String()))
	}
	l.public, err = hangup.Listen(public, hangup.Options{
		MaxConnections: l.connections,
		MaxPerIP:       cfg.MaxConnectionsPerIP,
		Uncounted:      proxy.Trusted(cfg.TrustedProxies).Has,
		WriteTimeout:   cfg.WriteTimeout,
	})
	return err
}

// PublicAddr is where clients connect; valid after Listen.
func (l *listeners) PublicAddr() net.Addr { return l.public.Addr() }

// AdminAddr is where operators look; valid after Listen.
func (l *listeners) AdminAddr() net.Addr { return l.adminListener.Addr() }

// serve serves all listeners until they are closed. The channel gets the error of
// each one that fails.
func (l *listeners) serve(server *http.Server, workers *sync.WaitGroup) <-chan error {
	failed := make(chan error, 3) // one for each, so that none blocks
	if l.profiler != nil {
		workers.Go(func() {
			if err := l.profiler.Run(); err != nil {
				failed <- err
			}
		})
	}
	workers.Go(func() {
		if err := server.Serve(l.adminListener); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("admin listener: %w", err)
		}
	})
	workers.Go(func() {
		if err := l.front.Serve(l.public); err != nil {
			failed <- fmt.Errorf("public listener: %w", err)
		}
	})
	return failed
}

// open returns how many clients are connected.
func (l *listeners) open() int {
	if l.public == nil { // before Listen
		return 0
	}
	return l.public.Stats().Open
}

// evicted returns how many idle connections were closed to make room.
func (l *listeners) evicted() uint64 {
	if l.public == nil { // before Listen
		return 0
	}
	return l.public.Stats().Evicted
}

// warnings returns what the status page warns about.
func (l *listeners) warnings() (list []string) {
	if l.crowding != "" {
		list = append(list, l.crowding)
	}
	if l.certificates != nil {
		list = append(list, l.certificates.warnings()...)
	}
	return list
}
