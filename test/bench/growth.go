package main

import (
	"fmt"
	"time"
)

// growth measures how the cost of a request grows with various sizes.
func (b *bench) growth() error {
	for range min(b.rounds, 3) {
		for _, step := range []func(target) error{b.byWaiting, b.byStreams, b.byBody, b.byWindow, b.byClients, b.byCores} {
			for _, t := range b.targets {
				if t.kind != usher {
					continue
				}
				if err := step(t); err != nil {
					return err
				}
			}
		}
		b.progress("growth: a round")
	}
	return nil
}

// grown adds the figures of one size.
func (b *bench) grown(by string, t target, x float64, r report, cpu time.Duration) {
	n := float64(len(r.Latency))
	b.results.add("growth by "+by, t.name, "CPU µs a request", x, float64(cpu.Nanoseconds())/1000/n)
	b.results.add("growth by "+by, t.name, "p50 ms", x, quantile(r.Latency, 0.5)/1e6)
	b.results.add("growth by "+by, t.name, "p99 ms", x, quantile(r.Latency, 0.99)/1e6)
	b.results.add("growth by "+by, t.name, "requests/s", x, n/time.Duration(r.Took).Seconds())
}

// sizes returns powers of ten up to the largest, fewer of them in a smoke run.
func (b *bench) sizes(largest int) (list []int) {
	if b.quick {
		return []int{1, 100}
	}
	for n := 1; n < largest; n *= 10 {
		list = append(list, n)
	}
	return append(list, largest)
}

// byWaiting measures with 16 requests at the model server and n waiting, until the
// last have been sent. The latency is the queue's; the CPU should be flat.
func (b *bench) byWaiting(t target) error {
	for _, n := range b.sizes(10_000) {
		o := options{env: []string{"USHER_MAX_CONCURRENCY=16", "USHER_QUEUE_CAPACITY=20000", "USHER_REPLAY_WINDOW=65536"}}
		r, cpu, err := b.measured("growth", t, o, spec{Path: "/generate", Conns: 16 + n, Greet: true, Warm: b.scaled(500), Count: b.scaled(25_000), Prompt: 1 << 10})
		if err != nil {
			return fmt.Errorf("%d waiting: %w", n, err)
		}
		b.grown("waiting requests", t, float64(n), r, cpu)
	}
	return nil
}

// byStreams measures with 16 connections while n streams are open and silent. Each
// takes two descriptors, so a limit of 20,000 allows 9,000.
func (b *bench) byStreams(t target) error {
	for _, n := range b.sizes(9000) {
		if err := b.besideStreams(t, n); err != nil {
			return fmt.Errorf("%d streams: %w", n, err)
		}
	}
	return nil
}

func (b *bench) besideStreams(t target, n int) error {
	addr, p, err := b.launch(t, options{env: []string{"USHER_REPLAY_WINDOW=65536"}})
	if err != nil {
		return err
	}
	defer p.stop()
	streams, err := b.newLoad(spec{Addr: addr, Path: "/generate_stream?tokens=2&every=1h", Count: n, Prompt: 1 << 10, Events: 2, Hold: true})
	if err != nil {
		return err
	}
	defer func() { _ = streams.end() }()
	if _, err := streams.run(); err != nil {
		return err
	}
	l, err := b.newLoad(spec{Addr: addr, Path: "/generate", Conns: 16, First: n, Warm: 200, Count: b.scaled(15_000), Prompt: 1 << 10})
	if err != nil {
		return err
	}
	before := p.cpu()
	r, err := l.run()
	if err != nil {
		return err
	}
	b.grown("open streams", t, float64(n), r, p.cpu()-before)
	return l.end()
}

// byBody measures with 4 connections and bodies of 1 KB to 8 MB.
func (b *bench) byBody(t target) error {
	for _, kb := range []int{1, 8, 64, 512, 2048, 8192} {
		count := b.scaled(max(min(4000, 400_000/kb), 60))
		r, cpu, err := b.measured("growth", t, options{}, spec{Path: "/generate", Conns: 4, Warm: b.scaled(100), Count: count, Prompt: kb << 10})
		if err != nil {
			return fmt.Errorf("%d KB: %w", kb, err)
		}
		b.grown("body, KB", t, float64(kb), r, cpu)
	}
	return nil
}

// byWindow measures with replay windows of 256 to 16 million numbers. A smaller window
// may move past a request that the machine is slow to schedule.
func (b *bench) byWindow(t target) error {
	for _, n := range []int{256, 1024, 8192, 131072, 16777216} {
		o := options{env: []string{fmt.Sprintf("USHER_REPLAY_WINDOW=%d", n)}}
		r, cpu, err := b.measured("growth", t, o, spec{Path: "/generate", Conns: 16, Warm: b.scaled(500), Count: b.scaled(15_000), Prompt: 1 << 10})
		if err != nil {
			return fmt.Errorf("a window of %d: %w", n, err)
		}
		b.grown("replay window", t, float64(n), r, cpu)
	}
	return nil
}

// byClients measures with 16 requests under way, from n addresses in turn, which are
// counted for the limit per address.
func (b *bench) byClients(t target) error {
	for _, n := range b.sizes(10_000) {
		o := options{env: []string{"USHER_MAX_CONNECTIONS_PER_IP=1000"}}
		r, cpu, err := b.measured("growth", t, o, spec{Path: "/generate", Conns: max(n, 16), Greet: true, Sources: n, Warm: b.scaled(500), Count: b.scaled(20_000), Prompt: 1 << 10})
		if err != nil {
			return fmt.Errorf("%d clients: %w", n, err)
		}
		b.grown("distinct clients", t, float64(n), r, cpu)
	}
	return nil
}

// byCores measures Usher on one core and on two.
func (b *bench) byCores(t target) error {
	for n, cores := range []string{"0", "0,1"} {
		r, cpu, err := b.measured("growth", t, options{cores: cores}, spec{Path: "/generate", Conns: 16, Warm: b.scaled(500), Count: b.scaled(15_000), Prompt: 1 << 10})
		if err != nil {
			return fmt.Errorf("cores %s: %w", cores, err)
		}
		b.grown("cores", t, float64(n+1), r, cpu)
	}
	return nil
}
