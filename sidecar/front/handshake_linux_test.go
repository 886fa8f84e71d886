package front

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/usher-sidecar/usher/sidecar/hangup"
	"github.com/usher-sidecar/usher/test/full"
	"github.com/usher-sidecar/usher/test/leak"
)

// A countedKey counts its signatures.
type countedKey struct {
	crypto.Signer
	signed atomic.Int64
}

func (k *countedKey) Sign(random io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	k.signed.Add(1)
	return k.Signer.Sign(random, digest, o)
}

// secureServer starts a Server that speaks TLS. With mutual it asks for certificates, and
// config is that of a client that has one.
func secureServer(t testing.TB, timeout time.Duration, mutual bool) (s *Server, addr string, key *countedKey, config *tls.Config) {
	t.Helper()
	server := serverConfig(t)
	mine := server.Certificates[0]
	config = &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{mine}}
	if mutual {
		server.ClientAuth = tls.RequireAnyClientCert
	}
	key = &countedKey{Signer: mine.PrivateKey.(*ecdsa.PrivateKey)}
	server.Certificates = []tls.Certificate{{Certificate: mine.Certificate, PrivateKey: key}}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ln, err := hangup.Listen(inner, hangup.Options{})
	require.NoError(t, err)
	s = New(Options{
		Serve:       func(c *Conn, _ error) { c.CloseAfter() },
		HealthCheck: func(string) (Answer, bool) { return Answer{Status: 200}, true },
		Closing:     func() bool { return false },
		TLS:         server, HandshakeTimeout: timeout,
		ReadTimeout: patience, IdleTimeout: patience, MaxConnections: 1000,
	})
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, s.Shutdown(ctx))
		ln.Shutdown()
		require.NoError(t, <-served)
	})
	return s, ln.Addr().String(), key, config
}

// A place is where a client stops in the middle of a handshake.
type place struct {
	version uint16
	bytes   int
	hears   bool // the client reads what the server says before its next byte
	hello   bool // the client's hello is not complete yet
}

// errCut is the client's own error when its handshake was cut.
var errCut = errors.New("cut")

// A cutConn lets place.bytes bytes of a client through.
type cutConn struct {
	net.Conn
	place
	records []int // where the written records begin, and where the last one ends
}

func (c *cutConn) Write(p []byte) (int, error) {
	if c.records == nil {
		c.records = []int{0}
	}
	for rest := p; len(rest) >= 5; {
		n := 5 + int(rest[3])<<8 + int(rest[4])
		c.records, rest = append(c.records, c.records[len(c.records)-1]+n), rest[n:]
	}
	n, err := c.Conn.Write(p[:min(c.bytes, len(p))])
	c.bytes -= n
	if err == nil && (n < len(p) || c.bytes == 0 && !c.hears) {
		return n, errCut
	}
	return n, err
}

// shakeUntil makes a handshake up to a place, where its error is errCut.
func shakeUntil(t *testing.T, addr string, config *tls.Config, at place) (c *cutConn, err error) {
	t.Helper()
	plain, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	require.NoError(t, plain.SetDeadline(time.Now().Add(patience)))
	c = &cutConn{Conn: plain, place: at}
	config = config.Clone()
	config.MinVersion, config.MaxVersion = at.version, at.version
	return c, tls.Client(c, config).Handshake()
}

// places returns the places before, in the middle of and after every record of a client,
// except after the last.
func places(t *testing.T, addr string, config *tls.Config) (list []place) {
	t.Helper()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		plain, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		whole := &cutConn{Conn: plain, place: place{bytes: 1 << 20}}
		config := config.Clone()
		config.MinVersion, config.MaxVersion = version, version
		require.NoError(t, tls.Client(whole, config).Handshake())
		require.NoError(t, plain.Close())
		r := whole.records
		for i := range len(r) - 1 {
			list = append(list, place{version, r[i], true, i == 0}, place{version, (r[i] + r[i+1]) / 2, false, i == 0})
			if i > 0 {
				list = append(list, place{version, r[i], false, false})
			}
		}
	}
	return list
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(list)
}

// However and wherever a client ends a handshake, it is counted as what it is, nothing of
// it is left, and nothing is signed before its hello is complete.
func TestHandshakesAbortedAtEveryMessage(t *testing.T) {
	garbage := make([]byte, 4<<10)
	for i := range garbage {
		garbage[i] = 0xff
	}
	for _, tt := range []struct {
		way     string
		do      func(c *cutConn)
		timeout time.Duration
		want    Handshake
	}{
		{"leaves", func(c *cutConn) { _ = c.Close() }, patience, HandshakeGone},
		{"resets", func(c *cutConn) { _ = c.Conn.(*net.TCPConn).SetLinger(0); _ = c.Close() }, patience, HandshakeGone},
		{"garbage", func(c *cutConn) { _, _ = c.Conn.Write(garbage) }, patience, HandshakeFailed},
		{"silence", func(*cutConn) {}, full.Or(300*time.Millisecond, time.Second), HandshakeTimeout},
	} {
		for _, mutual := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, mutual %v", tt.way, mutual), func(t *testing.T) {
				leaks := goleak.IgnoreCurrent()
				t.Cleanup(func() {
					require.NoError(t, leak.Find(leaks,
						// They end after sleeping for 10 s.
						goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
						goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1")))
				})
				_, patient, _, config := secureServer(t, patience, mutual)
				list := places(t, patient, config)
				require.Greater(t, len(list), 12)
				s, addr, key, config := secureServer(t, tt.timeout, mutual)
				require.Eventually(t, func() bool { return s.lending.loop.Load() != nil }, patience, time.Millisecond) // the loop has a descriptor
				before := descriptors(t)
				var open []net.Conn
				for _, inHello := range []bool{true, false} {
					counted := func() uint64 {
						n := s.handshaker.counts[tt.want].Load()
						if tt.want == HandshakeFailed { // garbage instead of a certificate
							n += s.handshaker.counts[HandshakeUnverified].Load()
						}
						return n
					}
					ended := counted()
					count := 0
					for _, at := range list {
						if at.hello != inHello {
							continue
						}
						count++
						c, err := shakeUntil(t, addr, config, at)
						if tt.want != HandshakeTimeout { // which may have come first
							require.ErrorIs(t, err, errCut)
						}
						tt.do(c)
						open = append(open, c)
					}
					require.Eventually(t, func() bool { return counted()-ended == uint64(count) && openOn(s) == 0 }, patience, time.Millisecond, "%v", s.Handshakes())
					if inHello {
						require.Zero(t, key.signed.Load())
						continue
					}
					require.LessOrEqual(t, key.signed.Load(), int64(count))
					require.Positive(t, key.signed.Load())
				}
				require.Zero(t, s.handshaker.counts[HandshakeFull].Load())
				if !mutual {
					require.Zero(t, s.handshaker.counts[HandshakeUnverified].Load())
				}
				for _, c := range open {
					_ = c.Close()
				}
				require.Eventually(t, func() bool { return descriptors(t) <= before }, patience, time.Millisecond)
				require.Zero(t, s.HandshakesWaiting())
			})
		}
	}
}

// Handshakes that come one after the other share few goroutines; after many at once only
// the idle workers are left.
func TestHandshakesShareGoroutines(t *testing.T) {
	s, addr, _, config := secureServer(t, patience, false)
	shake := func() {
		c, err := tls.Dial("tcp", addr, config)
		if err != nil {
			t.Error(err)
			return
		}
		_ = c.Close()
	}
	idle := func() int {
		s.handshaker.crew.mu.Lock()
		defer s.handshaker.crew.mu.Unlock()
		return len(s.handshaker.crew.idle)
	}
	for range 10 {
		shake()
		require.Eventually(t, func() bool { return openOn(s) == 0 && idle() == 1 }, patience, time.Millisecond)
	}
	var many sync.WaitGroup
	for range 3 * mostIdle {
		many.Go(shake)
	}
	many.Wait()
	require.Eventually(t, func() bool { return openOn(s) == 0 }, patience, time.Millisecond)
	require.LessOrEqual(t, idle(), mostIdle)
	s.handshaker.crew.end()
	require.Zero(t, idle())
	shake() // one that was running when the crew ended
	require.Zero(t, idle())
}

func BenchmarkHandshake(b *testing.B) {
	_, addr, _, config := secureServer(b, patience, false)
	config.CurvePreferences = []tls.CurveID{tls.X25519}
	b.ReportAllocs()
	for b.Loop() {
		c, err := tls.Dial("tcp", addr, config)
		require.NoError(b, err)
		require.NoError(b, c.CloseWrite())
		_, _ = io.Copy(io.Discard, c)
		_ = c.Close()
	}
}
