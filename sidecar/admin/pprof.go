package admin

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// A Profiler serves the runtime's profiles (net/http/pprof) on an address of its own:
// they reveal more than the admin pages, and taking one costs CPU time.
type Profiler struct {
	listener net.Listener
	server   *http.Server
}

// NewProfiler makes a Profiler that listens on addr ("host:port").
func NewProfiler(addr string) (*Profiler, error) {
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
	return &Profiler{ln, &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}}, nil
}

// Addr returns the address it listens on.
func (p *Profiler) Addr() net.Addr { return p.listener.Addr() }

// Run serves until Close, and then returns nil.
func (p *Profiler) Run() error {
	if err := p.server.Serve(p.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("profile listener: %w", err)
	}
	return nil
}

// Close ends Run, and any profile being taken.
func (p *Profiler) Close() {
	_ = p.server.Close()
	_ = p.listener.Close()
}
