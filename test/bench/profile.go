package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"github.com/usher-sidecar/usher/test/loopback"
)

// Profiles are taken of one Usher while it is measured.
type profiles struct {
	addr    string
	takers  sync.WaitGroup
	mu      sync.Mutex
	cpu     []byte
	allocs  []byte
	failure error
}

func newProfiles() (*profiles, error) {
	addr, err := loopback.Address()
	return &profiles{addr: addr}, err
}

// take starts fetching a profile; write waits for it.
func (p *profiles) take(what string) {
	p.takers.Go(func() {
		resp, err := http.Get("http://" + p.addr + "/debug/pprof/" + what)
		var body []byte
		if err == nil {
			body, err = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.failure = errors.Join(p.failure, err)
		if what == "allocs" {
			p.allocs = body
		} else {
			p.cpu = body
		}
	})
}

// write writes the profiles to files whose names begin with name.
func (p *profiles) write(name string) error {
	p.takers.Wait()
	if p.failure != nil {
		return p.failure
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(name+".cpu", p.cpu, 0o644), os.WriteFile(name+".allocs", p.allocs, 0o644))
}
