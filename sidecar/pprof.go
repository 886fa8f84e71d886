package sidecar

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// A profiler serves the runtime's profiles (net/http/pprof) on an address of its
// own: they tell more than the admin pages, and taking one costs CPU.
type profiler struct {
	listener net.Listener
	server   *http.Server
}

// newProfiler binds the address.
func newProfiler(addr string) (*profiler, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("USHER_PPROF_ADDR: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return &profiler{ln, &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}}, nil
}

// run serves until close.
func (p *profiler) run() error {
	if err := p.server.Serve(p.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("profile listener: %w", err)
	}
	return nil
}

// close ends run, and a profile under way.
func (p *profiler) close() {
	_ = p.server.Close()
	_ = p.listener.Close()
}
