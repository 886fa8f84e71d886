package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// flood measures the streams of the phase streams over TLS: alone, beside handshakes
// that come to nothing, and beside the same handshakes sent to another process of the
// same kind. The last shows what the load on the machine alone does, and no proxy can
// do better than that.
func (b *bench) flood() error {
	if err := b.readyCertificates(); err != nil {
		return err
	}
	return b.eachRound("flood", b.rounds, func(t target) error {
		if !secured(t) {
			return nil
		}
		for _, key := range []string{rsa2048, p256} {
			if err := b.floodWith(t, key); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *bench) floodWith(t target, key string) error {
	const phase = "flood"
	p99 := map[string]float64{}
	for _, tt := range []struct {
		what    string
		rate    float64
		another bool
	}{
		{"alone", 0, false},
		{"500 handshakes/s", 500, false},
		{"500/s to another process", 500, true},
		{"1,500 handshakes/s", 1500, false},
	} {
		r, cpu, err := b.beside(t, key, tt.rate, tt.another)
		if err != nil {
			return err
		}
		seconds := time.Duration(r.Took).Seconds()
		p99[tt.what] = quantile(r.Delays, 0.99)
		what := fmt.Sprintf("%s, %s: ", key, tt.what)
		b.results.add(phase, t.name, what+"delay a token p99 ms", 0, p99[tt.what]/1e6)
		b.results.add(phase, t.name, what+"processors taken", 0, cpu.Seconds()/seconds)
		if tt.rate > 0 {
			b.results.add(phase, t.name, what+"begun a second", 0, float64(r.Flooded)/seconds)
		}
	}
	quiet, floor, flooded := p99["alone"], p99["500/s to another process"], p99["500 handshakes/s"]
	b.results.add(phase, t.name, key+": p99 beside the flood ÷ alone", 0, flooded/quiet)
	b.results.add(phase, t.name, key+": p99 beside another's flood ÷ alone", 0, floor/quiet)
	b.results.add(phase, t.name, key+": p99 beside the flood ÷ beside another's", 0, flooded/floor)
	return nil
}

// beside measures streams beside a flood of rate handshakes a second, to the same
// process or to another one of the same kind. The flood comes from a process of its
// own.
func (b *bench) beside(t target, key string, rate float64, another bool) (r report, cpu time.Duration, err error) {
	s := b.streamSpec()
	s.Secure = true
	if rate == 0 {
		return b.measured("flood", t, options{key: key}, s)
	}
	var flood *load
	begin := func(addr string) (err error) {
		flood, err = b.newLoad(spec{Addr: addr, Flood: rate})
		if err == nil {
			err = flood.begin()
		}
		return err
	}
	o := options{key: key, ready: begin}
	if another {
		addr, p, err := b.launch(t, options{key: key})
		if err != nil {
			return r, 0, err
		}
		defer p.stop()
		o.ready = func(string) error { return begin(addr) }
	}
	r, cpu, err = b.measured("flood", t, o, s)
	if flood == nil {
		return r, cpu, err
	}
	_, stopped := io.WriteString(flood.in, "stop\n")
	of, failed := flood.report()
	r.Flooded = of.Flooded
	return r, cpu, errors.Join(err, stopped, failed, flood.end())
}

// aborts are the ways in which a handshake of a flood comes to nothing, in turn. Those
// that stay keep their connection open until there are many of them.
var aborts = []struct {
	what  string
	stays bool
	do    func(c net.Conn, hello []byte)
}{
	{"says nothing", true, func(net.Conn, []byte) {}},
	{"stops in its hello", true, func(c net.Conn, hello []byte) { _, _ = c.Write(hello[:len(hello)/2]) }},
	{"leaves in its hello", false, func(c net.Conn, hello []byte) { _, _ = c.Write(hello[:len(hello)/2]) }},
	{"garbage for a hello", true, func(c net.Conn, hello []byte) { _, _ = c.Write(garbage(hello[:5], 300)) }},
	{"stops after its hello", true, func(c net.Conn, hello []byte) { _, _ = c.Write(hello) }},
	{"leaves after its hello", false, func(c net.Conn, hello []byte) { _, _ = c.Write(hello) }},
	{"stops before Finished", true, answered},
	{"leaves before Finished", false, answered},
	{"garbage for Finished", true, func(c net.Conn, hello []byte) {
		answered(c, hello)
		_, _ = c.Write(garbage([]byte{23, 3, 3}, 53))
	}},
	{"makes it whole, and leaves", false, func(c net.Conn, _ []byte) { _ = tls.Client(c, clientConfig(spec{})).Handshake() }},
}

// answered sends a hello and reads the answer.
func answered(c net.Conn, hello []byte) {
	_, _ = c.Write(hello)
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, _ = c.Read(make([]byte, 4<<10))
}

// garbage returns a record of n zeros, with the type and version of header.
func garbage(header []byte, n int) []byte {
	return append([]byte{header[0], header[1], header[2], byte(n >> 8), byte(n)}, make([]byte, n)...)
}

// flood begins handshakes that come to nothing, at fixed times, until it reads a line
// from in. It returns how many it began.
func (g *generator) flood(rate float64, in *bufio.Reader) (begun int64) {
	stop := make(chan struct{})
	go func() {
		_, _ = in.ReadString('\n')
		close(stop)
	}()
	hello := recordHello(clientConfig(g.spec))
	const most = 500 // connections that stay
	staying := make(chan net.Conn, most)
	var under sync.WaitGroup
	var count atomic.Int64
	began := time.Now()
	for i := 0; ; i++ {
		select {
		case <-stop:
			under.Wait()
			close(staying)
			for c := range staying {
				_ = c.Close()
			}
			return count.Load()
		case <-time.After(time.Until(began.Add(time.Duration(float64(i) / rate * float64(time.Second))))):
		}
		abort := aborts[i%len(aborts)]
		under.Go(func() {
			c, err := net.DialTimeout("tcp", g.spec.Addr, 5*time.Second)
			if err != nil {
				return // a flood may well end like this
			}
			count.Add(1)
			abort.do(c, hello)
			for abort.stays {
				select {
				case staying <- c:
					return
				default:
				}
				select {
				case oldest := <-staying:
					_ = oldest.Close()
				default:
				}
			}
			_ = c.Close()
		})
	}
}

// recordHello returns a client's first message.
func recordHello(config *tls.Config) []byte {
	one, other := net.Pipe()
	go func() {
		_ = tls.Client(one, config).Handshake()
		_ = one.Close()
	}()
	buf := make([]byte, 4<<10)
	n, _ := other.Read(buf)
	_ = other.Close()
	return buf[:n]
}
