package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A command says how to start a process.
type command struct {
	args  []string
	env   []string // in addition to bench's own
	addr  string   // where it listens once it is ready; "": do not wait
	ready string   // a path that must answer 200 too; "": listening is enough
	log   string   // the file for its output; "": none
	cores string   // of taskset -c; "": all

	secure bool // it speaks TLS
}

// A process is a server that is measured, with its children.
type process struct {
	cmd   *exec.Cmd
	bench *bench
	log   *os.File
	took  time.Duration // from the start until it was ready
}

// start starts a process and waits until it is ready.
func (b *bench) start(c command) (*process, error) {
	args := c.args
	if c.cores != "" {
		args = append([]string{"taskset", "-c", c.cores}, args...)
	}
	p := &process{cmd: exec.Command(args[0], args[1:]...), bench: b}
	p.cmd.Env = append(os.Environ(), c.env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if c.log != "" {
		var err error
		if p.log, err = os.Create(c.log); err != nil {
			return nil, err
		}
		p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	}
	began := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	b.alive = append(b.alive, p)
	b.mu.Unlock()
	if c.addr != "" {
		if err := awaitReady(c.addr, c.ready, c.secure); err != nil {
			text, _ := os.ReadFile(c.log)
			p.stop()
			return nil, fmt.Errorf("%s: %w\n%s", filepath.Base(c.args[0]), err, text)
		}
	}
	p.took = time.Since(began)
	return p, nil
}

// awaitReady waits until the server is ready, asking every millisecond.
func awaitReady(addr, path string, secure bool) (err error) {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		var c net.Conn
		if c, err = net.Dial("tcp", addr); err != nil {
			continue
		}
		if path == "" {
			return c.Close()
		}
		if secure {
			c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		}
		_, _ = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n", path)
		head := make([]byte, len("HTTP/1.1 200"))
		_, err = c.Read(head)
		_ = c.Close()
		if err == nil && string(head) == "HTTP/1.1 200" {
			return nil
		}
		err = errors.Join(err, fmt.Errorf("%s answers %q", path, head))
	}
	return err
}

// stop ends the process and its children, and waits for it.
func (p *process) stop() {
	p.bench.mu.Lock()
	at := slices.Index(p.bench.alive, p)
	if at >= 0 {
		p.bench.alive = slices.Delete(p.bench.alive, at, at+1)
	}
	p.bench.mu.Unlock()
	if at < 0 {
		return
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	_ = p.cmd.Wait()
	if p.log != nil {
		_ = p.log.Close()
	}
}

// family returns the pids of the process and its descendants.
func (p *process) family() []int {
	parents := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(text), ") ") // a name may hold blanks
		fields := strings.Fields(rest)
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		parent, _ := strconv.Atoi(fields[1])
		parents[parent] = append(parents[parent], pid)
	}
	all := []int{p.cmd.Process.Pid}
	for i := 0; i < len(all); i++ {
		all = append(all, parents[all[i]]...)
	}
	return all
}

// cpu returns the CPU time that the family has used.
func (p *process) cpu() time.Duration {
	cpu, _ := p.scheduled()
	return cpu
}

// scheduled returns how long the family has run on processors and waited for them,
// from the scheduler's account of each thread (the first two figures of schedstat, in
// nanoseconds). Threads that have ended are not included, but no target ends any while
// it is measured.
func (p *process) scheduled() (cpu, waited time.Duration) {
	for _, pid := range p.family() {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		for _, path := range tasks {
			text, _ := os.ReadFile(path)
			var ns [2]time.Duration
			_, _ = fmt.Sscan(string(text), &ns[0], &ns[1])
			cpu, waited = cpu+ns[0], waited+ns[1]
		}
	}
	return cpu, waited
}

// resident returns the memory of the family, in bytes. Shared memory is counted once
// for each process, so only differences are meaningful.
func (p *process) resident() int64 {
	var total int64
	for _, pid := range p.family() {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		fields := strings.Fields(string(text))
		if len(fields) > 1 {
			pages, _ := strconv.ParseInt(fields[1], 10, 64)
			total += pages * int64(os.Getpagesize())
		}
	}
	return total
}
