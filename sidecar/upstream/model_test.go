package upstream

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/loopback"
)

// patience bounds the wait for what must happen at once; a test that passes never waits
// that long.
const patience = 10 * time.Second

// A model is a model server that runs a script, however bad, on every connection.
type model struct {
	network string
	addr    string
	ln      net.Listener
	conns   atomic.Int64
	served  atomic.Int64 // requests whose head arrived
	wg      sync.WaitGroup
	once    sync.Once
	ending  chan struct{}

	mu      sync.Mutex
	open    map[net.Conn]struct{}
	stopped bool // by then all that were open have been closed
}

// A peer is a connection as the model server sees it.
type peer struct {
	net.Conn
	br *bufio.Reader
	m  *model
	n  int // connections before this one
}

func listen(t testing.TB, network string, script func(p *peer)) *model {
	addr := net.JoinHostPort(loopback.Host(), "0")
	if network == "unix" {
		addr = filepath.Join(t.TempDir(), "s")
	}
	ln, err := net.Listen(network, addr)
	require.NoError(t, err)
	m := &model{network: network, addr: ln.Addr().String(), ln: ln, open: map[net.Conn]struct{}{}, ending: make(chan struct{})}
	m.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p := &peer{Conn: c, br: bufio.NewReader(c), m: m, n: int(m.conns.Add(1)) - 1}
			m.mu.Lock()
			m.open[c] = struct{}{}
			if m.stopped {
				_ = c.Close()
			}
			m.mu.Unlock()
			m.wg.Go(func() {
				defer func() { _ = c.Close() }()
				script(p)
			})
		}
	})
	t.Cleanup(m.stop)
	return m
}

// stopWaiting releases the scripts that wait for the end of the test.
func (m *model) stopWaiting() { m.once.Do(func() { close(m.ending) }) }

func (m *model) stop() {
	m.stopWaiting()
	_ = m.ln.Close()
	m.mu.Lock()
	m.stopped = true
	for c := range m.open {
		_ = c.Close()
	}
	m.mu.Unlock()
	m.wg.Wait()
}

// request reads one request: its head as it arrived, and its body.
func (p *peer) request() (head string, body []byte, err error) {
	length := 0
	for {
		line, err := p.br.ReadString('\n')
		if err != nil {
			return head, nil, err
		}
		head += line
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && name == "Content-Length" {
			if _, err := fmt.Sscan(value, &length); err != nil {
				return head, nil, err
			}
		}
		if line == "\r\n" {
			break
		}
	}
	p.m.served.Add(1)
	body = make([]byte, length)
	_, err = io.ReadFull(p.br, body)
	return head, body, err
}

// ended is closed when the test is over.
func (p *peer) ended() <-chan struct{} { return p.m.ending }

func (p *peer) send(s string) { _, _ = io.WriteString(p.Conn, s) }

func (p *peer) reset() {
	if tcp, ok := p.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = p.Close()
}

// gone waits until the other side has closed.
func (p *peer) gone() error {
	_, err := io.Copy(io.Discard, p.br)
	return err
}

// answering serves every request with the same response.
func answering(response string) func(*peer) {
	return func(p *peer) {
		for {
			if _, _, err := p.request(); err != nil {
				return
			}
			p.send(response)
		}
	}
}

const hello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

func connect(t testing.TB, m *model, change func(o *Options)) *Client {
	o := Options{Network: m.network, Address: m.addr, Host: "model", ConnectTimeout: patience, ResponseTimeout: patience, IdleTimeout: patience}
	if change != nil {
		change(&o)
	}
	c, err := New(o)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func acquire(t testing.TB, c *Client) *Conn {
	cn, err := c.Acquire(context.Background())
	require.NoError(t, err)
	return cn
}

// post sends a request on a new use and reads all of the answer.
func post(t testing.TB, c *Client, body []byte) (*Response, string, error) {
	resp, err := acquire(t, c).RoundTrip(&Request{Path: []byte("/generate"), Body: body})
	if err != nil {
		return nil, "", err
	}
	got, err := readAll(resp)
	return resp, got, err
}

// readAll reads a body and checks what Read promises.
func readAll(r io.Reader) (string, error) {
	var all bytes.Buffer
	p := make([]byte, 1<<10)
	for {
		n, err := r.Read(p)
		all.Write(p[:n])
		if err != nil {
			if m, again := r.Read(p); m != 0 || again != err {
				return all.String(), fmt.Errorf("after %w, Read gave %d, %w", err, m, again)
			}
			if err == io.EOF {
				return all.String(), nil
			}
			return all.String(), err
		}
		if n == 0 {
			return all.String(), io.ErrNoProgress
		}
	}
}

func headerOf(t testing.TB, lines string) []byte {
	require.True(t, lines == "" || strings.HasSuffix(lines, "\r\n"))
	return []byte("Host: usher\r\n" + lines)
}

// requireReset checks that err is a reset, not an orderly end.
func requireReset(t testing.TB, err error) {
	require.ErrorIs(t, err, syscall.ECONNRESET)
}
