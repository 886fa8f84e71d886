package main

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A wire counts what arrives on a connection, beneath TLS.
type wire struct {
	net.Conn
	bytes, records int64
	header         []byte // what has arrived of the current record's header
	left           int    // bytes left of the record's body
}

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.bytes += int64(n)
	for p = p[:n]; len(p) > 0; {
		if w.left > 0 {
			k := min(w.left, len(p))
			w.left, p = w.left-k, p[k:]
			continue
		}
		w.header, p = append(w.header, p[0]), p[1:]
		if len(w.header) == 5 {
			w.left, w.header = int(w.header[3])<<8|int(w.header[4]), w.header[:0]
			w.records++
		}
	}
	return n, err
}

// clientConfig returns the load generator's TLS settings: TLS 1.3 and, unless the spec
// says otherwise, only X25519, which every target supports.
func clientConfig(s spec) *tls.Config {
	c := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}, NextProtos: []string{"http/1.1"}}
	if s.Hybrid {
		c.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768}
	}
	return c
}

// secure puts TLS on top of a connection.
func secure(c net.Conn, s spec) (net.Conn, *wire, error) {
	w := &wire{Conn: c}
	t := tls.Client(w, clientConfig(s))
	return t, w, t.Handshake()
}

// handshakes makes Count connections, two at once, as `openssl s_time -new -tls1_3`
// does, or -reuse with Resume.
func (g *generator) handshakes() []int64 {
	latency := make([]int64, g.spec.Count)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			config := clientConfig(g.spec)
			if g.spec.Resume {
				config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
				config.ServerName = "bench" // the name under which sessions are kept
				if _, err := shake(g.spec.Addr, config); err != nil {
					g.failed(err)
				}
			}
			for i := next.Add(1) - 1; i < int64(len(latency)); i = next.Add(1) - 1 {
				began := now()
				resumed, err := shake(g.spec.Addr, config)
				if err == nil && resumed != g.spec.Resume {
					err = errors.New("resumed, or not, against what was wanted")
				}
				if err != nil {
					g.failed(err)
					return
				}
				latency[i] = now() - began
			}
		})
	}
	workers.Wait()
	return latency
}

// shake makes one handshake, reads the session tickets and closes properly.
func shake(addr string, config *tls.Config) (resumed bool, err error) {
	plain, err := net.Dial("tcp", addr)
	if err != nil {
		return false, err
	}
	c := tls.Client(plain, config)
	defer func() { _ = c.Close() }()
	if err := c.Handshake(); err != nil {
		return false, err
	}
	resumed = c.ConnectionState().DidResume
	if err := c.CloseWrite(); err != nil {
		return resumed, err
	}
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, err = io.Copy(io.Discard, c)
	return resumed, err
}
