// Package admin serves operators and their tools: probes, metrics, the status page,
// the drain. It is ordinary net/http, off the data path: it answers even if that is
// saturated, and until the end of a drain.
package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	stdlog "log"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/usher-sidecar/usher/config"
	"github.com/usher-sidecar/usher/crypto"
	"github.com/usher-sidecar/usher/reorder"
	"github.com/usher-sidecar/usher/replay"
	"github.com/usher-sidecar/usher/sidecar/engine"
	"github.com/usher-sidecar/usher/sidecar/metrics"
	"github.com/usher-sidecar/usher/sidecar/status"
	"github.com/usher-sidecar/usher/sidecar/upstream"
)

// ReportPatience is how long reports may go unacknowledged before that is shown as a
// fault.
const ReportPatience = time.Minute

// A Readiness says whether requests may be sent here. Each field is the reason why
// one check fails; "" if it passes.
type Readiness struct {
	Key      string
	Upstream string
	Loaded   string
	Draining string
}

// OK reports whether every check passes.
func (r Readiness) OK() bool { return r == Readiness{} }

// Sources is where the admin pages get their data. Everything in it must be safe for
// concurrent use.
type Sources struct {
	Config   *config.Config
	Version  string
	Started  time.Time
	Buffer   *reorder.Buffer
	Ledger   *replay.Ledger
	Keys     *crypto.KeySet
	Upstream *upstream.Client
	Prober   *upstream.Prober
	State
}

// A State is what only the sidecar as a whole knows.
type State struct {
	Ready        func() Readiness
	Drain        func(context.Context) (cut bool, err error) // drains without exiting; err is the context's
	KeyFault     func() string                               // why the key could not be read at the last attempt; "": it could
	Connections  func() int                                  // open client connections
	ReadingBytes func() int64                                // memory of request bodies being read
	LinesLeftOut func() map[string]uint64                    // log lines, by outcome
	Evicted      func() uint64                               // idle connections closed to make room
	Warnings     func() []string                             // in addition to those about settings

	Handshakes        func() map[string]uint64            // TLS handshakes, by outcome
	HandshakesWaiting func() int                          // TLS handshakes waiting for their turn
	CertificateKeys   func() []string                     // types of the certificates' keys; none: no TLS
	CertificateExpiry func() time.Time                    // of the certificate in force; zero: no TLS
	Report            func(now time.Time) status.Report   // reports to the autoscaler; nil: no reports and no benchmark
	Sessions          func(now time.Time) status.Sessions // nil: sessions are off
	Engine            func() engine.State                 // the model server's own figures; nil: it has none
}

// A Server serves the admin listener. Make it with New.
type Server struct {
	Sources
	metrics *metrics.Metrics
	pages   *status.Pages
	hosts   hostNames
}

// New makes a Server that shows what m and recorder have gathered and what the
// sources say, and registers gauges for the latter with m. It starts nothing.
func New(sources Sources, m *metrics.Metrics, recorder *status.Recorder) *Server {
	s := &Server{Sources: sources, metrics: m, hosts: newHostNames()}
	s.pages = status.NewPages(recorder, status.Source{State: s.describe, Load: s.load, Sample: s.sample})
	registerGauges(m, &s.Sources)
	return s
}

// Run keeps the status pages up to date until ctx ends, and returns ctx's error.
func (s *Server) Run(ctx context.Context) error { return s.pages.Run(ctx) }

// HTTP returns the server for the admin listener, which logs its own errors to log.
func (s *Server) HTTP(log *stdlog.Logger) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.serveReady)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.Registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	// /prestop is for preStop hooks with httpGet, which cannot POST.
	s.handleAction(mux, http.MethodPost, "/drain")
	s.handleAction(mux, http.MethodGet, "/prestop")
	mux.Handle("/", s.hosts.guard(s.pages.Handler()))
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          log,
	}
	// Shutdown waits for streams, and those of the status pages never end by
	// themselves.
	server.RegisterOnShutdown(s.pages.Close)
	return server
}

// handleAction makes path drain, for requests with this method only.
func (s *Server) handleAction(mux *http.ServeMux, method, path string) {
	drain := refuseBrowsers(s.serveDrain)
	mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != method {
			w.Header().Set("Allow", method)
			http.Error(w, "use "+method+" to drain", http.StatusMethodNotAllowed)
			return
		}
		drain(w, r)
	})
}

// serveReady answers 200 or 503, and names the checks that fail.
func (s *Server) serveReady(w http.ResponseWriter, _ *http.Request) {
	r := s.Ready()
	checks := map[string]string{"key": cmp.Or(r.Key, "ok"), "upstream": cmp.Or(r.Upstream, "ok"), "draining": "no"}
	if r.Draining != "" {
		checks["draining"] = "yes"
	}
	if s.Report != nil {
		checks["loaded"] = cmp.Or(r.Loaded, "ok")
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !r.OK() {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"ready": r.OK(), "checks": checks})
}

// serveDrain drains without exiting. It answers when nothing is in flight, so that a
// preStop hook delays the end of the pod until then.
func (s *Server) serveDrain(w http.ResponseWriter, r *http.Request) {
	cut, err := s.Drain(r.Context())
	if err != nil {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]bool{"drained": true, "cut": cut})
}
