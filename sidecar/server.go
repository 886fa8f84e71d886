package sidecar

import (
	"crypto/tls"

	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/sidecar/front"
)

// openServer makes the public server.
func (s *Sidecar) openServer() (err error) {
	descriptors := descriptorLimit()
	if s.sessions != nil && descriptors > closingsAtOnce {
		descriptors -= closingsAtOnce
	}
	s.connections, s.crowding = limitConnections(descriptors, s.cfg.MaxConnections, s.cfg.MaxConcurrency)
	if s.crowding != "" {
		s.log.Warn("USHER_MAX_CONNECTIONS is lowered to what the descriptor limit allows",
			zap.Int("from", s.cfg.MaxConnections), zap.Int("to", s.connections), zap.Uint64("descriptors", descriptors))
	}
	if s.certificates, err = openCertificates(s.cfg.TLS, s.log); err != nil {
		return err
	}
	s.front = front.New(front.Options{
		Serve: s.handler.serve, Aside: aside(s.readiness), Methods: s.routes.Allowed, Closing: s.drain.begun,
		CORS: front.NewCORS(s.cfg.CORSOrigins), TLS: s.tlsConfig(), Trusted: s.cfg.TrustedProxies,
		Panicked:         func(fault any, stack []byte) { s.faults.note(fault, stack) },
		Debug:            func(event string) { s.log.Debug("http server", zap.String("event", event)) },
		HandshakeTimeout: s.cfg.TLS.HandshakeTimeout, ReadTimeout: s.cfg.ReadTimeout, IdleTimeout: s.cfg.IdleTimeout, MaxConnections: s.connections,
	})
	return nil
}

func (s *Sidecar) tlsConfig() *tls.Config {
	if s.certificates == nil {
		return nil
	}
	return s.certificates.Config()
}
