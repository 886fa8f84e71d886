// Package admin is what operators and their tools see and do: probes, metrics,
// the status page, the drain. It is ordinary net/http, off the data path: it
// answers when that is saturated, and to the end of a drain.
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

// ReportPatience is how long no report may be acknowledged before that is shown
// as a fault.
const ReportPatience = time.Minute

// A Readiness is the answer to "may requests be sent here", with its reasons;
// an empty reason is a check that holds.
type Readiness struct {
	Key      string
	Upstream string
	Loaded   string // it is not yet, for this reason
	Draining string
}

// OK reports whether every check holds.
func (r Readiness) OK() bool { return r == Readiness{} }

// Sources are what the admin side shows, and the one thing that it does. All of
// it must be safe for concurrent use.
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

// A State is what only the whole sidecar knows.
type State struct {
	Ready        func() Readiness
	Drain        func(context.Context) (cut bool, err error) // drains without leaving; err is the context's
	KeyFault     func() string                               // of the last try to read the key; "": it went well
	Connections  func() int                                  // open ones of clients
	ReadingBytes func() int64                                // of request bodies
	LinesLeftOut func() map[string]uint64                    // of the log, by outcome
	Evicted      func() uint64                               // idle connections, closed to make room
	Warnings     func() []string                             // beyond those of the settings

	Handshakes        func() map[string]uint64            // of TLS, by outcome
	HandshakesWaiting func() int                          // for their turn
	CertificateKeys   func() []string                     // the types of the keys in force; none: no TLS
	CertificateExpiry func() time.Time                    // of the one in force; zero: no TLS
	Report            func(now time.Time) status.Report   // to the autoscaler; nil: there is none, and no benchmark
	Sessions          func(now time.Time) status.Sessions // of clients; nil: there are none
	Engine            func() engine.State                 // what the model server tells of its load; nil: nothing
}

// A Server answers operators. Make it with New.
type Server struct {
	Sources
	metrics *metrics.Metrics
	pages   *status.Pages
	hosts   hostNames
}

// New makes a Server that shows what the sinks gathered, and registers with the
// metrics what the sources keep. It starts nothing.
func New(sources Sources, m *metrics.Metrics, recorder *status.Recorder) *Server {
	s := &Server{Sources: sources, metrics: m, hosts: newHostNames()}
	s.pages = status.NewPages(recorder, status.Source{State: s.describe, Load: s.load, Sample: s.sample})
	s.registerGauges()
	return s
}

// Run keeps the status pages up to date until ctx ends, and returns its error.
func (s *Server) Run(ctx context.Context) error { return s.pages.Run(ctx) }

// HTTP is the server of the admin listener. log is for its own faults.
func (s *Server) HTTP(log *stdlog.Logger) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.serveReady)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.Registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	// The second is for a preStop hook with httpGet, which cannot POST: it holds
	// the pod just the same.
	s.handleAction(mux, http.MethodPost, "/drain")
	s.handleAction(mux, http.MethodGet, "/prestop")
	mux.Handle("/", s.hosts.guard(s.pages.Handler()))
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          log,
	}
	// Shutdown waits for streams, and those of the pages never end by themselves.
	server.RegisterOnShutdown(s.pages.Close)
	return server
}

// handleAction has a request of exactly this method drain.
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

// serveReady names what fails.
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

// serveDrain drains without leaving and answers when nothing is in flight, so
// that a preStop hook holds the pod until then.
func (s *Server) serveDrain(w http.ResponseWriter, r *http.Request) {
	cut, err := s.Drain(r.Context())
	if err != nil {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]bool{"drained": true, "cut": cut})
}
