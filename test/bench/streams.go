package main

import (
	"fmt"
	"time"
)

// streams measures 200 streams of 100 events, 20 ms apart.
func (b *bench) streams() error { return b.wholeStreams("streams", b.streamSpec()) }

func (b *bench) streamSpec() spec {
	events := 100
	if b.quick {
		events = 20
	}
	return specOf(b.scaled(200), events, 20*time.Millisecond)
}

// many measures 1,000 streams of 12 events, half a second apart.
func (b *bench) many() error {
	events := 12
	if b.quick {
		events = 3
	}
	return b.wholeStreams("many", specOf(b.scaled(1000), events, 500*time.Millisecond))
}

// specOf returns a load of streams that begin 2 ms apart.
func specOf(count, events int, every time.Duration) spec {
	return spec{
		Path:  fmt.Sprintf("/generate_stream?tokens=%d&every=%s", events, every),
		Conns: count, Count: count, Prompt: 1 << 10, Events: events, Apart: 2 * time.Millisecond,
	}
}

// wholeStreams measures streams from beginning to end.
func (b *bench) wholeStreams(phase string, s spec) error {
	return b.eachRound(phase, b.rounds, func(t target) error {
		r, cpu, err := b.measured(phase, t, options{}, s)
		if err != nil {
			return err
		}
		if t.kind != direct {
			b.results.add(phase, t.name, "CPU µs a token", 0, float64(cpu.Nanoseconds())/1000/float64(len(r.Delays)))
		}
		b.addLatency(phase, t, "delay a token ", r.Delays, 0.5, 0.9, 0.99, 0.999)
		b.addLatency(phase, t, "first byte ", r.First, 0.5, 0.9, 0.99)
		return nil
	})
}

// opening measures streams of one event, 500 a second at fixed times.
func (b *bench) opening() error {
	return b.eachRound("opening", b.rounds, func(t target) error {
		if t.kind == python {
			return nil
		}
		r, cpu, err := b.measured("opening", t, options{}, spec{
			Path: "/generate_stream?tokens=1", Conns: 64, Warm: b.scaled(500), Count: b.scaled(3000), Prompt: 1 << 10, Rate: 500,
		})
		if err != nil {
			return err
		}
		if t.kind != direct {
			b.results.add("opening", t.name, "CPU µs a stream", 0, float64(cpu.Nanoseconds())/1000/float64(len(r.Latency)))
		}
		b.addLatency("opening", t, "", r.Latency, 0.5, 0.99)
		return nil
	})
}

// steady measures 200 streams with an event every 20 ms, from when all are open until
// the first ends.
func (b *bench) steady() error {
	const count, every, open = 200, 20 * time.Millisecond, time.Second
	window := 4 * time.Second
	if b.quick {
		window = time.Second
	}
	events := int((open + window + time.Second) / every)
	return b.eachRound("steady", b.rounds, func(t target) error {
		if t.kind == python || t.kind == direct {
			return nil
		}
		addr, p, err := b.launch(t, options{})
		if err != nil {
			return err
		}
		defer p.stop()
		s := specOf(count, events, every)
		s.Addr, s.Token = addr, t.kind == haproxy
		l, err := b.newLoad(s)
		if err != nil {
			return err
		}
		spent := make(chan float64, 1)
		go func() {
			time.Sleep(open)
			before, began := p.cpu(), time.Now()
			time.Sleep(window)
			tokens := time.Since(began).Seconds() / every.Seconds() * count
			spent <- float64((p.cpu() - before).Nanoseconds()) / 1000 / tokens
		}()
		r, err := l.run()
		if err != nil {
			return err
		}
		b.results.add("steady", t.name, "CPU µs a token", 0, <-spent)
		b.addLatency("steady", t, "delay a token ", r.Delays, 0.5, 0.99)
		return l.end()
	})
}
