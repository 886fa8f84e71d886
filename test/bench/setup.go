package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/usher-sidecar/usher/test/loopback"
)

// A bench is one run: a folder, a model server, tickets and the targets.
type bench struct {
	dir     string
	quick   bool
	profile string // folder for profiles of Usher; "": no profiles
	rounds  int
	targets []target
	tickets string // file of signed requests
	key     string // file of the public key that they verify with
	model   *process
	modelAt string // host:port
	results results
	started time.Time

	mu    sync.Mutex
	alive []*process
}

// ticketCount is the number of distinct signed requests, a tenth of it for a smoke
// run. Usher is restarted before they are used again.
const ticketCount = 30_000

func newBench(quick bool, rounds int, only, also []string) (*bench, error) {
	dir, err := os.MkdirTemp("", "usher-bench-")
	if err != nil {
		return nil, err
	}
	// nginx's workers run as another user if bench runs as root.
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	b := &bench{dir: dir, quick: quick, rounds: rounds, started: time.Now()}
	if quick {
		b.rounds = 1
	}
	if err := b.prepare(only, also); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *bench) prepare(only, also []string) error {
	b.progress("building")
	if out, err := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", b.path("usher"), "./cmd/usher").CombinedOutput(); err != nil {
		return fmt.Errorf("building Usher: %w\n%s", err, out)
	}
	b.targets = []target{{kind: direct, name: "direct"}, {kind: nginx, name: "nginx"}, {kind: haproxy, name: "HAProxy"},
		{kind: usher, name: "Usher", binary: b.path("usher")}}
	for _, a := range also {
		name, path, ok := strings.Cut(a, "=")
		if !ok {
			return fmt.Errorf("-also wants name=path, not %q", a)
		}
		b.targets = append(b.targets, target{kind: usher, name: name, binary: path})
	}
	b.targets = append(b.targets, target{kind: python, name: "Python"})
	if only != nil {
		b.targets = slices.DeleteFunc(b.targets, func(t target) bool {
			return !slices.Contains(only, strings.ToLower(t.name)) && !slices.ContainsFunc(also, func(a string) bool { return strings.HasPrefix(a, t.name+"=") })
		})
	}
	if err := install(b.targets); err != nil {
		return err
	}
	if err := b.readyTickets(); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if b.modelAt, err = loopback.Address(); err != nil {
		return err
	}
	b.model, err = b.start(command{args: []string{self, "model", b.modelAt}, addr: b.modelAt})
	return err
}

// install installs missing Debian packages.
func install(targets []target) error {
	var missing []string
	for _, t := range targets {
		switch t.kind {
		case nginx:
			if _, err := exec.LookPath("nginx"); err != nil {
				missing = append(missing, "nginx-light")
			}
		case haproxy:
			if _, err := exec.LookPath("haproxy"); err != nil {
				missing = append(missing, "haproxy")
			}
		case python:
			if exec.Command(systemPython, "-c", "import aiohttp, Cryptodome").Run() != nil {
				missing = append(missing, "python3", "python3-aiohttp", "python3-pycryptodome")
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if os.Getuid() != 0 {
		return fmt.Errorf("missing: apt-get install %s", strings.Join(missing, " "))
	}
	fmt.Fprintln(os.Stderr, "installing", strings.Join(missing, " "))
	// Without this, nginx and haproxy would be started as services on every address.
	const policy = "/usr/sbin/policy-rc.d"
	if _, err := os.Stat(policy); errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(policy, []byte("#!/bin/sh\nexit 101\n"), 0o755); err != nil {
			return err
		}
		defer func() { _ = os.Remove(policy) }()
	}
	for _, args := range [][]string{{"update", "-qq"}, append([]string{"install", "-y", "-qq", "--no-install-recommends"}, missing...)} {
		cmd := exec.Command("apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, out)
		}
	}
	return nil
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%6.1fs  "+format+"\n", append([]any{time.Since(b.started).Seconds()}, args...)...)
}

// close ends every process and removes the folder.
func (b *bench) close() error {
	b.mu.Lock()
	alive := slices.Clone(b.alive)
	b.mu.Unlock()
	for _, p := range alive {
		p.stop()
	}
	return os.RemoveAll(b.dir)
}
