package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// eachRound calls one for every target in every round. Every second round goes
// backwards, so that no target always follows the same other one.
func (b *bench) eachRound(phase string, rounds int, one func(t target) error) error {
	for round := range rounds {
		for i := range b.targets {
			t := b.targets[i]
			if round%2 == 1 {
				t = b.targets[len(b.targets)-1-i]
			}
			if err := one(t); err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
		}
		b.progress("%s: round %d of %d", phase, round+1, rounds)
	}
	return nil
}

// measured starts a target, runs a load against it, and returns the load's report and
// the CPU time that the target used.
func (b *bench) measured(phase string, t target, o options, s spec) (r report, cpu time.Duration, err error) {
	var profiles *profiles
	if b.profile != "" && t.kind == usher {
		if profiles, err = newProfiles(); err != nil {
			return r, 0, err
		}
		o.env = append(o.env, "USHER_PPROF_ADDR="+profiles.addr)
	}
	addr, p, err := b.launch(t, o)
	if err != nil {
		return r, 0, err
	}
	if p != nil {
		defer p.stop()
	}
	s.Addr, s.Token = addr, t.kind == haproxy
	l, err := b.newLoad(s)
	if err != nil {
		return r, 0, err
	}
	if o.ready != nil {
		if err := o.ready(addr); err != nil {
			return r, 0, errors.Join(err, l.end())
		}
	}
	var before time.Duration
	if p != nil {
		before = p.cpu()
	}
	if profiles != nil {
		profiles.take("profile?seconds=1")
	}
	r, err = l.run()
	if p != nil {
		cpu = p.cpu() - before
	}
	if ended := l.end(); err == nil {
		err = ended
	}
	if profiles != nil {
		profiles.take("allocs")
		err = errors.Join(err, profiles.write(filepath.Join(b.profile, phase+"-"+t.name)))
	}
	return r, cpu, err
}

// scaled returns n, or a tenth of it in a smoke run.
func (b *bench) scaled(n int) int {
	if b.quick {
		return max(n/10, 16)
	}
	return n
}

// few returns n, or less for the slow Python proxy, which would else take most of the
// time.
func few(t target, n int) int {
	if t.kind == python {
		return n / 10
	}
	return n
}

// small measures prompts of 1 KB over 16 kept connections, in a closed loop.
func (b *bench) small() error { return b.closedLoop("small", 1<<10, b.scaled(25_000)) }

// large is small with prompts of 256 KB.
func (b *bench) large() error { return b.closedLoop("large", 256<<10, b.scaled(2000)) }

func (b *bench) closedLoop(phase string, prompt, count int) error {
	return b.eachRound(phase, b.rounds, func(t target) error {
		r, cpu, err := b.measured(phase, t, options{}, spec{
			Path: "/generate", Conns: 16, Warm: b.scaled(500), Count: few(t, count), Prompt: prompt,
		})
		if err != nil {
			return err
		}
		n := float64(len(r.Latency))
		b.results.add(phase, t.name, "requests/s", 0, n/time.Duration(r.Took).Seconds())
		if t.kind != direct {
			b.results.add(phase, t.name, "CPU µs a request", 0, float64(cpu.Nanoseconds())/1000/n)
		}
		b.addLatency(phase, t, "", r.Latency, 0.5, 0.9, 0.99, 0.999)
		return nil
	})
}

// addLatency adds quantiles in milliseconds.
func (b *bench) addLatency(phase string, t target, what string, latency []int64, quantiles ...float64) {
	for _, q := range quantiles {
		b.results.add(phase, t.name, fmt.Sprintf("%sp%g ms", what, q*100), 0, quantile(latency, q)/1e6)
	}
}

// open measures 300 requests a second at fixed times.
func (b *bench) open() error {
	return b.eachRound("open", b.rounds, func(t target) error {
		r, cpu, err := b.measured("open", t, options{}, spec{
			Path: "/generate", Conns: 64, Warm: b.scaled(500), Count: b.scaled(1500), Prompt: 1 << 10, Rate: 300,
		})
		if err != nil {
			return err
		}
		b.addLatency("open", t, "", r.Latency, 0.5, 0.9, 0.99, 0.999)
		if t.kind != direct {
			b.results.add("open", t.name, "CPU µs a request", 0, float64(cpu.Nanoseconds())/1000/float64(len(r.Latency)))
		}
		return nil
	})
}

// memory measures streams that send one event and then nothing.
func (b *bench) memory() error {
	sizes := []int{1000, 2000, 9000} // two descriptors a stream: the limit is 20,000
	if b.quick {
		sizes = []int{100}
	}
	for _, n := range sizes {
		err := b.eachRound(fmt.Sprintf("memory, %d streams", n), min(b.rounds, 3), func(t target) error {
			if t.kind == direct {
				return nil
			}
			kb, err := b.residentPerStream(t, n, options{})
			b.results.add("memory", t.name, fmt.Sprintf("resident KB a stream, %d streams", n), 0, kb)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// residentPerStream compares the memory with n streams open, silent for a
// second, with that after some requests and before the streams.
func (b *bench) residentPerStream(t target, n int, o options) (kb float64, err error) {
	addr, p, err := b.launch(t, o)
	if err != nil {
		return 0, err
	}
	defer p.stop()
	token := t.kind == haproxy
	warm, err := b.newLoad(spec{Addr: addr, Path: "/generate", Token: token, Conns: 16, Warm: 200, Prompt: 1 << 10, Secure: o.key != ""})
	if err != nil {
		return 0, err
	}
	if err := warm.end(); err != nil {
		return 0, err
	}
	l, err := b.newLoad(spec{
		Addr: addr, Path: "/generate_stream?tokens=2&every=1h", Token: token,
		Conns: 0, First: 200, Count: n, Prompt: 1 << 10, Events: 2, Hold: true, Secure: o.key != "",
	})
	if err != nil {
		return 0, err
	}
	before := p.resident()
	if _, err := l.run(); err != nil {
		return 0, err
	}
	time.Sleep(time.Second) // the streams are silent
	after := p.resident()
	if err := l.end(); err != nil {
		return 0, err
	}
	return float64(after-before) / 1024 / float64(n), nil
}
