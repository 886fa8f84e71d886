package chaos

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/usher-sidecar/usher/test/loopback"
)

// A model is a model server that misbehaves by plan, on raw connections. It records
// what it reads in the ledger.
type model struct {
	seed   uint64
	ledger *ledger
	fail   func(format string, args ...any)
	acts   func(fault string)
	flaky  atomic.Bool // resets each new connection

	mu       sync.Mutex
	address  string
	listener net.Listener
	conns    map[net.Conn]struct{}
	accepted uint64
	gate     chan struct{} // nil: open
	serving  sync.WaitGroup
}

// start listens at the same address as before.
func (m *model) start() error {
	ln, err := loopback.ListenAt(m.address)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.listener, m.address = ln, ln.Addr().String()
	m.mu.Unlock()
	m.serving.Go(func() { m.accept(ln) })
	return nil
}

// kill does to the connections what a SIGKILL would: it closes the listener and ends
// every connection, with a reset as if there were unread data, or without.
func (m *model) kill(reset bool) {
	m.mu.Lock()
	_ = m.listener.Close()
	for c := range m.conns {
		if reset {
			_ = c.(*net.TCPConn).SetLinger(0)
		}
		_ = c.Close()
	}
	m.mu.Unlock()
	m.serving.Wait()
}

func (m *model) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		m.mu.Lock()
		m.accepted++
		m.conns[c] = struct{}{}
		r := rand.New(rand.NewPCG(m.seed, acceptor|m.accepted))
		m.mu.Unlock()
		if m.flaky.Load() && r.IntN(2) == 0 {
			_ = c.(*net.TCPConn).SetLinger(0)
			m.close(c)
			continue
		}
		m.serving.Go(func() {
			defer m.close(c)
			m.serve(c)
		})
	}
}

func (m *model) close(c net.Conn) {
	m.mu.Lock()
	delete(m.conns, c)
	m.mu.Unlock()
	_ = c.Close()
}

// shut holds all answers until the function it returns is called.
func (m *model) shut() (open func()) {
	gate := make(chan struct{})
	m.mu.Lock()
	m.gate = gate
	m.mu.Unlock()
	return sync.OnceFunc(func() {
		m.mu.Lock()
		m.gate = nil
		m.mu.Unlock()
		close(gate)
	})
}

func (m *model) serve(c net.Conn) {
	in := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			var network net.Error
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.As(err, &network) {
				m.fail("only HTTP reaches the model server: %v", err)
			}
			return
		}
		if r.URL.Path == "/health" {
			if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
				return
			}
			continue
		}
		if !m.answer(c, r) {
			return
		}
	}
}

// answer records the request and carries out its plan.
func (m *model) answer(c net.Conn, r *http.Request) bool {
	name := r.Header.Get("X-Request-Id")
	i, err := parseID(name)
	if err != nil {
		m.fail("no unverified request reaches the model server: %q", name)
		return false
	}
	if err := m.ledger.arrived(i); err != nil {
		m.fail("%v", err)
	}
	p := planOf(m.seed, i.index)
	if i.index >= outsiders {
		p = outsider(i.index)
	}
	if err := m.check(r, p); err != nil {
		m.fail("what was verified is what arrives: %s: %v", name, err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return false // the client left, or Usher was killed
	}
	if string(body) != p.payload() {
		m.fail("what was verified is what arrives: %s: another payload", name)
	}
	m.mu.Lock()
	gate := m.gate
	m.mu.Unlock()
	if gate != nil {
		<-gate
	}
	m.acts(p.fault)
	return faults[p.fault].act(&acting{Conn: c, plan: p, body: answerBody(name, p.lines), fail: m.fail})
}

// check returns what is wrong with the head.
func (m *model) check(r *http.Request, p plan) error {
	switch {
	case p.kind == forged || p.kind == malformed || p.kind == replayed:
		return fmt.Errorf("the request is %s", p.kind)
	case r.Method != http.MethodPost || r.RequestURI != p.route:
		return fmt.Errorf("%s %s instead of POST %s", r.Method, r.RequestURI, p.route)
	case r.Header.Get("Authorization") != "":
		return errors.New("it brings the customer's key")
	case r.Header.Get("Expect") != "":
		return errors.New("it expects 100-continue")
	}
	return nil
}
