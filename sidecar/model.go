package sidecar

import (
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/config"
	"github.com/usher-sidecar/usher/sidecar/upstream"
)

// A modelServer is where admitted requests go.
type modelServer struct {
	client   *upstream.Client
	prober   *upstream.Prober
	streams  *streams // of its answers
	sawBytes sawBytes
	onPiece  func(now time.Time) // told of each piece of an answer
	// strict is for model servers that are known to end every stream with its API's
	// final event: a stream without it counts as broken. Otherwise it is only logged.
	strict bool
}

// flowing reports whether anything came from the model server within a time before now.
func (m *modelServer) flowing(within time.Duration) bool {
	return m.sawBytes.within(within, time.Now())
}

// open makes the client, the prober and the loops. probed is told of each probe.
func (m *modelServer) open(cfg *config.Config, log *zap.Logger, probed func(healthy bool)) (err error) {
	m.strict = cfg.Preset != nil && cfg.Preset.FinalEvent
	m.onPiece = m.sawBytes.at
	kept := cfg.UpstreamIdleTimeout
	if kept == 0 {
		kept = upstream.KeepNone
	}
	m.client, err = upstream.New(upstream.Options{
		KeepIdle: kept,
		Network:  cfg.Upstream.Network, Address: cfg.Upstream.Address, Host: cfg.Upstream.Host,
		PathPrefix: cfg.Upstream.PathPrefix, Authorization: cfg.UpstreamAuthorization, WithoutOrigin: len(cfg.CORSOrigins) > 0,
		ConnectTimeout: cfg.ConnectTimeout, ResponseTimeout: cfg.UpstreamTimeout, IdleTimeout: cfg.StreamIdleTimeout,
	})
	if err != nil {
		return err
	}
	if m.streams, err = newStreams(cfg.StreamIdleTimeout); err != nil {
		return err
	}
	m.prober, err = upstream.NewProber(upstream.ProberOptions{
		Network: cfg.Upstream.Network, Address: cfg.Upstream.Address, Host: cfg.Upstream.Host,
		Authorization: cfg.UpstreamAuthorization,
		Path:          cfg.Upstream.PathPrefix + cfg.HealthPath,
		Interval:      cfg.HealthInterval, Failures: cfg.HealthFailures,
		Flowing: func() bool { return m.flowing(cfg.HealthInterval) },
		Report: func(healthy bool, err error) {
			if healthy {
				log.Info("model server is healthy")
				return
			}
			log.Warn("model server is not healthy", zap.Error(err))
		},
		Probed: probed,
	})
	return err
}

// suspect makes the prober check the model server at once if err says that it was
// unreachable or broke off.
func (m *modelServer) suspect(err error) {
	if errors.Is(err, upstream.ErrUnreachable) || errors.Is(err, upstream.ErrBroken) {
		m.prober.Suspect()
	}
}

// close gives back what open made.
func (m *modelServer) close() {
	if m.client != nil {
		m.client.Close()
	}
	if m.streams != nil {
		m.streams.close()
	}
}
