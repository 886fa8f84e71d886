package sidecar

import (
	"time"

	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/sidecar/engine"
)

// leastReading is the shortest time-out for reading the model server's figures.
const leastReading = time.Second

// openEngine makes the reader of the model server's load figures, if USHER_ENGINE says
// that it has any.
func (s *Sidecar) openEngine() (err error) {
	cfg := s.cfg
	if cfg.Preset == nil || !cfg.Preset.Tells() {
		return nil
	}
	o := engine.Options{
		Preset:  cfg.Preset,
		Network: cfg.Upstream.Network, Address: cfg.Upstream.Address, Host: cfg.Upstream.Host, PathPrefix: cfg.Upstream.PathPrefix,
		Authorization: cfg.UpstreamAuthorization,
		Timeout:       min(max(cfg.HealthInterval, leastReading), 5*leastReading),
		// What Usher itself has sent to the model server.
		Traffic: func() engine.Traffic {
			b := s.buffer.Stats()
			more, uncertain := s.gate.Beyond()
			return engine.Traffic{
				Load:      engine.Load{InFlight: b.InFlight, Queued: b.Waiting - b.Held},
				Runs:      b.InFlight + more,
				Uncertain: uncertain || s.reports.loading(), // the benchmark takes no slots
			}
		},
		Again: func() { s.model.prober.Hasten() },
		Report: func(slots string, err error) {
			switch {
			case err != nil:
				s.log.Warn("the model server's figures cannot be read", zap.Error(err), zap.String("needs", cfg.Preset.Figures.Needs))
			case slots != "":
				s.log.Info("number of slots changed", zap.Int("slots", s.buffer.Stats().Slots), zap.String("reason", slots))
			default:
				s.log.Info("the model server's figures can be read again")
			}
		},
	}
	if cfg.AutoConcurrency {
		o.Resize = s.buffer.Resize
	}
	s.engine, err = engine.New(o)
	return err
}
