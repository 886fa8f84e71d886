package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// A generator carries out a spec.
type generator struct {
	spec     spec
	requests *requests
	idle     chan *client // those between two requests, the longest idle first

	mu       sync.Mutex
	failures []string
	held     []*client // kept here, or the garbage collector would close them
}

// runLoad is the load generator's process. It reads a spec, connects and warms up,
// says "ready", waits for "go", reports, and keeps held streams open until in ends.
func runLoad(in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	var s spec
	text, err := lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	file, err := os.ReadFile(s.Tickets)
	if err != nil {
		return err
	}
	g := &generator{spec: s}
	if g.requests, err = newRequests(s, file); err != nil {
		return err
	}
	if err := g.connect(); err != nil {
		return err
	}
	g.closed(g.requests.tickets[:s.Warm])
	runtime.GC()
	if _, err := io.WriteString(out, "ready\n"); err != nil {
		return err
	}
	if _, err := lines.ReadString('\n'); err != nil {
		return nil // not wanted any more
	}
	var r report
	began := time.Now()
	switch tickets := g.requests.tickets[s.Warm:]; {
	case s.Flood > 0:
		r.Flooded = g.flood(s.Flood, lines)
	case s.Handshakes:
		r.Latency = g.handshakes()
	case s.Events > 0:
		r = g.streams(tickets)
	case s.Rate > 0:
		r.Latency = g.open(tickets)
	default:
		r.Latency = g.closed(tickets)
	}
	r.Took = int64(time.Since(began))
	r.Failures = g.failures
	if err := json.NewEncoder(out).Encode(r); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, lines)
	for _, c := range g.held {
		_ = c.Close()
	}
	return err
}

// connect opens the connections, in turn from each address.
func (g *generator) connect() error {
	g.idle = make(chan *client, g.spec.Conns)
	for i := range g.spec.Conns {
		var source net.IP
		if n := g.spec.Sources; n > 0 {
			source = net.IPv4(127, byte(1+i%n>>16), byte(i%n>>8), byte(1+i%n%250))
		}
		c, err := dial(g.spec, source, g.requests)
		if err != nil {
			return err
		}
		if g.spec.Greet {
			if err := c.greet(); err != nil {
				return err
			}
		}
		g.idle <- c
	}
	return nil
}

func (g *generator) failed(err error) {
	g.mu.Lock()
	g.failures = append(g.failures, err.Error())
	g.mu.Unlock()
}

// busy returns how many requests a closed loop has under way.
func (g *generator) busy() int {
	if g.spec.Sources > 0 {
		return 16
	}
	return g.spec.Conns
}

// closed sends each request as soon as an earlier one is answered.
func (g *generator) closed(tickets []string) []int64 {
	latency := make([]int64, len(tickets))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(g.busy(), len(tickets)) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(tickets)); i = next.Add(1) - 1 {
				c := <-g.idle
				began := now()
				if err := c.exchange(tickets[i]); err != nil {
					g.failed(err)
					return
				}
				latency[i] = now() - began
				g.idle <- c
			}
		})
	}
	workers.Wait()
	return latency
}

// open sends requests at fixed times, whether earlier ones are answered or not, and
// measures from those times. So a target that stalls is charged for every request that
// had to wait (coordinated omission).
func (g *generator) open(tickets []string) []int64 {
	runtime.LockOSThread()
	latency := make([]int64, len(tickets))
	var workers sync.WaitGroup
	type job struct {
		client *client
		due    int64
		i      int
	}
	// One goroutine per connection, waiting: starting one would add to the latency.
	jobs := make(chan job)
	for range g.spec.Conns {
		workers.Go(func() {
			for j := range jobs {
				if err := j.client.exchange(tickets[j.i]); err != nil {
					g.failed(err)
					continue
				}
				latency[j.i] = now() - j.due
				g.idle <- j.client
			}
		})
	}
	apart := int64(float64(time.Second) / g.spec.Rate)
	began := now() + apart
	for i := range tickets {
		due := began + int64(i)*apart
		// The kernel wakes a sleeper some 60 µs late, so the last part is spun.
		if left := time.Duration(due - now()); left > 150*time.Microsecond {
			time.Sleep(left - 150*time.Microsecond)
		}
		for now() < due {
			runtime.Gosched()
		}
		select {
		case c := <-g.idle:
			jobs <- job{c, due, i}
		case <-time.After(20 * time.Second):
			g.failed(fmt.Errorf("no connection is free"))
		}
	}
	close(jobs)
	workers.Wait()
	return latency
}

// streamClient returns a connection for a stream. Connections of held streams are
// opened only now, because they are part of the memory that is measured.
func (g *generator) streamClient() (*client, error) {
	if !g.spec.Hold {
		return <-g.idle, nil
	}
	c, err := dial(g.spec, nil, g.requests)
	if err == nil {
		g.mu.Lock()
		g.held = append(g.held, c)
		g.mu.Unlock()
	}
	return c, err
}

// streams opens one stream after the other, each on its own connection, and reads them
// to their ends or, with Hold, up to their first event.
func (g *generator) streams(tickets []string) report {
	first := make([]int64, len(tickets))
	delays := make([][]int64, len(tickets))
	var readers sync.WaitGroup
	var bytes, records atomic.Int64
	room := make(chan struct{}, 256) // streams being opened at once
	began := time.Now()
	for i, ticket := range tickets {
		time.Sleep(time.Until(began.Add(time.Duration(i) * g.spec.Apart)))
		if g.spec.Hold {
			room <- struct{}{}
		}
		readers.Go(func() {
			c, err := g.streamClient()
			if err != nil {
				g.failed(err)
				return
			}
			if w := c.wire; w != nil {
				from := *w
				defer func() { bytes.Add(w.bytes - from.bytes); records.Add(w.records - from.records) }()
			}
			sent := now()
			if err := c.send(ticket); err != nil {
				g.failed(err)
				return
			}
			s, at, err := c.open()
			if err != nil {
				g.failed(err)
				return
			}
			first[i] = at - sent
			for range g.spec.Events {
				delay, err := s.next()
				if err != nil {
					g.failed(err)
					return
				}
				delays[i] = append(delays[i], delay)
				if g.spec.Hold {
					<-room
					return
				}
			}
		})
	}
	readers.Wait()
	r := report{First: first, Bytes: bytes.Load(), Records: records.Load()}
	for _, d := range delays {
		r.Delays = append(r.Delays, d...)
	}
	return r
}
