package sidecar

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
)

// adminServer answers operators and their tools. It is ordinary net/http, off
// the data path: it answers when that is saturated, and to the end of a drain.
func (s *Sidecar) adminServer() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.serveReady)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.Registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.Handle("POST /drain", s.hosts.guardForm(http.HandlerFunc(s.serveDrain)))
	mux.HandleFunc("/drain", func(w http.ResponseWriter, _ *http.Request) { // the page's pattern would answer 404
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "use POST to drain", http.StatusMethodNotAllowed)
	})
	mux.Handle("/", s.hosts.guard(s.pages.Handler()))
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          zap.NewStdLog(s.log.WithOptions(zap.IncreaseLevel(zap.ErrorLevel))),
	}
	// Shutdown waits for streams, and those of the pages never end by themselves.
	server.RegisterOnShutdown(s.pages.Close)
	return server
}

// serveReady names what fails.
func (s *Sidecar) serveReady(w http.ResponseWriter, _ *http.Request) {
	r := s.readiness()
	checks := map[string]string{"key": orOK(r.Key), "upstream": orOK(r.Upstream), "draining": "no"}
	if r.Draining != "" {
		checks["draining"] = "yes"
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !r.ready() {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"ready": r.ready(), "checks": checks})
}

func orOK(reason string) string {
	if reason == "" {
		return "ok"
	}
	return reason
}

// serveDrain drains without leaving and answers when nothing is in flight, so
// that a preStop hook holds the pod until then.
func (s *Sidecar) serveDrain(w http.ResponseWriter, r *http.Request) {
	s.drain.start()
	select {
	case <-s.drain.done:
	case <-r.Context().Done():
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]bool{"drained": true, "cut": s.drain.err != nil})
}
