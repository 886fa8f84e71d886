// Package sidecar admits signed requests to the model server beside it and streams
// the answers back. Everything is wired in New and used in the handler.
package sidecar

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/config"
	"github.com/usher-sidecar/usher/config/route"
	"github.com/usher-sidecar/usher/crypto"
	"github.com/usher-sidecar/usher/envelope"
	"github.com/usher-sidecar/usher/reorder"
	"github.com/usher-sidecar/usher/sidecar/admin"
	"github.com/usher-sidecar/usher/sidecar/engine"
	"github.com/usher-sidecar/usher/sidecar/front"
	"github.com/usher-sidecar/usher/sidecar/gate"
	"github.com/usher-sidecar/usher/sidecar/metrics"
	"github.com/usher-sidecar/usher/sidecar/report"
	"github.com/usher-sidecar/usher/sidecar/status"
	"github.com/usher-sidecar/usher/sidecar/upstream"
)

// Version says which build runs.
type Version struct {
	Number string
	Commit string
	Go     string
}

// ErrStart is wrapped by errors of New, which are faults of the deployment: wrong
// files or settings, exit status 2.
var ErrStart = errors.New("cannot start")

// ErrCut is returned by Run when the drain ended with requests still in flight,
// or was cut short by Abort.
var ErrCut = errors.New("requests were cut")

// A Sidecar is one Usher. Make it with New, then call Listen and Run once each;
// the other methods are safe for concurrent use.
type Sidecar struct {
	cfg     *config.Config
	log     *zap.Logger
	version Version
	started time.Time

	handler
	trust
	listeners
	views
	buffer *reorder.Buffer
	engine *engine.Watcher // nil: the model server does not report its load
}

// The views are what operators see.
type views struct {
	metrics  *metrics.Metrics
	recorder *status.Recorder
	admin    *admin.Server
	sampler  *sampler
}

// New makes a sidecar from the settings. It opens the state file and reads key and
// certificate, but starts nothing. Its error wraps ErrStart.
func New(cfg *config.Config, log *zap.Logger, version Version) (*Sidecar, error) {
	s := &Sidecar{
		cfg: cfg, log: log, version: version, started: time.Now(),
		handler: handler{
			routes: routes{
				Table: route.NewTable(signedRoutes(cfg), cfg.OpenRoutes),
				names: servedNames(route.Names(slices.Concat(cfg.Routes, cfg.OpenRoutes))),
				open:  places{limit: int64(cfg.OpenConcurrency)},
			},
			bodies: bodies{front.NewBudget(cfg.QueueBytes, cfg.BodiesBytes, cfg.MaxBodyBytes), cfg.MaxBodyBytes},
			calls:  newCalls(),
		},
		trust: trust{log: log, keys: crypto.NewKeySet(cfg.SignedFields, cfg.PublicKeyGrace)},
		views: views{
			metrics:  metrics.New(route.Names(signedRoutes(cfg)), route.Names(cfg.OpenRoutes), prometheus.Labels{"version": version.Number, "commit": version.Commit, "goversion": version.Go}),
			recorder: status.NewRecorder(),
			sampler:  newSampler(log),
		},
	}
	s.faults = faults{log, s.metrics.Panics.Inc}
	s.model.sawBytes.origin = s.started
	s.sessions = newSessions(cfg, log, func() *upstream.Client { return s.model.client })
	s.drain = newDrain(cfg, log, s.calls, &s.listeners)
	s.drain.sessions = s.sessions
	if err := s.open(); err != nil {
		s.close()
		return nil, fmt.Errorf("%w: %w", ErrStart, err)
	}
	s.book.Add(s.metrics)
	s.book.Add(s.recorder)
	if s.tracer != nil {
		s.book.Add(s.tracer)
	}
	s.reports.attach(&s.book, s.metrics)
	s.sessions.attach(s.metrics)
	s.drain.leave = s.reports.leave
	s.book.Add(requestLog{log, s.sampler})
	s.openAdmin()
	return s, nil
}

// open makes the parts whose making can fail, in the order in which they need each
// other.
func (s *Sidecar) open() (err error) {
	s.reports, err = newReports(s.cfg, s.log, report.LoadingOptions{
		Started: s.started, Healthy: func() bool { return s.model.prober.Healthy() }, Keyed: s.keyed, Draining: s.drain.begun,
	})
	if err != nil {
		return err
	}
	if err = s.openGate(); err != nil {
		return err
	}
	err = s.model.open(s.cfg, s.log, func(healthy bool) {
		if s.engine != nil {
			s.engine.Probed(healthy)
		}
	})
	if err != nil {
		return err
	}
	if err = s.openEngine(); err != nil {
		return err
	}
	if err = s.openKey(s.cfg, s.gate, s.metrics.KeyFailures.Inc); err != nil {
		return err
	}
	if err = s.prepare(s.cfg, s.log); err != nil {
		return err
	}
	s.openFront()
	s.tracer, err = newTracer(s.cfg, s.version.Number, s.log)
	return err
}

// openGate makes the gate, which decides on tickets, with its ledger and buffer.
func (s *Sidecar) openGate() error {
	cfg := s.cfg
	audience, err := envelope.NewAudience(cfg.Endpoints, cfg.WorkerURLs)
	if err != nil {
		return err
	}
	if err = s.openLedger(cfg); err != nil {
		return err
	}
	s.buffer, err = reorder.New(reorder.Config{
		Slots: cfg.FirstSlots(), Capacity: cfg.QueueCapacity, Bytes: cfg.QueueBytes, Timeout: cfg.QueueTimeout,
		Hold: cfg.ReorderHold, Auto: cfg.ReorderAuto, MaxHold: cfg.ReorderMaxHold, Target: cfg.ReorderTarget,
	})
	if err != nil {
		return err
	}
	s.gate = gate.New(gate.Config{
		Audience: audience, Schema: cfg.SignedFields, Keys: s.keys, Ledger: s.ledger, Buffer: s.buffer, Policy: CostPolicy(cfg), Engine: cfg.Dialect(),
		Sessions: s.sessions.core(),
		Meter:    &s.book, Numbers: &s.recorder.Strip, Stale: s.stale, Reset: s.restarted, Accepted: s.reports.accepted(),
	})
	s.comeback = newComeback(s.buffer.Stats, s.started)
	return nil
}

// CostPolicy returns the policy that the settings choose for requests that exceed
// their cost.
func CostPolicy(cfg *config.Config) gate.Policy {
	return map[config.CostPolicy]gate.Policy{
		config.CostOff: gate.Off, config.CostObserve: gate.Observe, config.CostEnforce: gate.Enforce,
	}[cfg.CostPolicy]
}

// openFront makes the public server.
func (s *Sidecar) openFront() {
	cfg := s.cfg
	s.front = front.New(front.Options{
		Serve: s.handler.serve, HealthCheck: publicHealth(s.readiness), Methods: s.routes.Allowed, Closing: s.drain.begun,
		CORS: front.NewCORS(cfg.CORSOrigins), TLS: s.certificates.config(), Trusted: cfg.TrustedProxies,
		Panicked:         func(fault any, stack []byte) { s.faults.note(fault, stack) },
		Debug:            func(event string) { s.log.Debug("http server", zap.String("event", event)) },
		HandshakeTimeout: cfg.TLS.HandshakeTimeout, ReadTimeout: cfg.ReadTimeout, IdleTimeout: cfg.IdleTimeout, MaxConnections: s.connections,
	})
}

// openAdmin makes the admin server.
func (s *Sidecar) openAdmin() {
	state := admin.State{
		Ready:        s.readiness,
		Drain:        s.drain.join,
		KeyFault:     s.trust.fault,
		Connections:  s.listeners.open,
		ReadingBytes: s.bodies.Used,
		LinesLeftOut: requestLog{s.log, s.sampler}.leftOut,
		Warnings:     func() []string { return append(s.listeners.warnings(), s.trust.warnings()...) },
		Evicted:      s.evicted,
		Handshakes:   s.front.Handshakes, HandshakesWaiting: s.front.HandshakesWaiting,
		CertificateKeys: s.certificates.keys, CertificateExpiry: s.certificates.expiry,
		Report:   s.reports.describe(),
		Sessions: s.sessions.describe(s.cfg.MaxSessions),
	}
	if s.engine != nil {
		state.Engine = s.engine.State
	}
	s.admin = admin.New(admin.Sources{
		Config: s.cfg, Version: s.version.Number, Started: s.started,
		Buffer: s.buffer, Ledger: s.ledger, Keys: s.keys, Upstream: s.model.client, Prober: s.model.prober,
		State: state,
	}, s.metrics, s.recorder)
}

// close closes what New opened.
func (s *Sidecar) close() {
	if s.tracer != nil {
		if err := s.tracer.Close(); err != nil {
			s.log.Warn("the last spans were not sent", zap.Error(err))
		}
	}
	s.model.close()
	s.trust.close()
}
