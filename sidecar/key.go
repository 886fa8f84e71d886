package sidecar

import (
	"context"

	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/config"
	"github.com/usher-sidecar/usher/crypto"
)

// KeySource returns the source of the key that the settings name.
func KeySource(cfg *config.Config) crypto.Source {
	switch {
	case cfg.PublicKey != "":
		return crypto.Inline([]byte(cfg.PublicKey))
	case cfg.PublicKeyFile != "":
		return crypto.File(cfg.PublicKeyFile)
	default:
		return crypto.URLs(cfg.PublicKeyURLs, cfg.PublicKeyPin, nil)
	}
}

// openKey makes the refresher of the key and reads the key once if that needs no
// network. A key from a URL is fetched when Run starts.
func (s *Sidecar) openKey() (err error) {
	s.refresher, err = crypto.NewRefresher(crypto.RefresherConfig{
		Source: KeySource(s.cfg), Pin: s.cfg.PublicKeyPin, Interval: s.cfg.PublicKeyRefresh,
		Install: s.installKeys, Report: s.reportKey,
	})
	if err != nil || len(s.cfg.PublicKeyURLs) > 0 {
		return err
	}
	return s.refresher.Load(context.Background())
}

// installKeys puts keys into force.
func (s *Sidecar) installKeys(keys []*crypto.Key) {
	came, left := s.gate.Install(keys)
	for _, k := range came {
		s.log.Info("public key in force", zap.String("algorithm", k.Algorithm()), zap.String("fingerprint", k.Fingerprint().String()))
	}
	for _, k := range left {
		s.log.Info("public key has left its source", zap.String("fingerprint", k.Fingerprint().String()), zap.Duration("accepted_for", s.cfg.PublicKeyGrace))
	}
}

// reportKey records how an attempt to read the key went.
func (s *Sidecar) reportKey(err error) {
	s.keyFault.Store(nil)
	if err != nil {
		text := err.Error()
		s.keyFault.Store(&text)
		s.metrics.KeyFailures.Inc()
		s.log.Warn("public key not refreshed; the last good one stays in force", zap.Error(err))
	}
}
