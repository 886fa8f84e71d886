package hangup

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/usher-sidecar/usher/test/leak"
	"github.com/usher-sidecar/usher/test/loopback"
)

func TestMain(m *testing.M) {
	leak.Main(m,
		// fasthttp leaves these sleeping when a server ends.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
	)
}

// listen opens a Listener on loopback, which is shut down when the test ends.
func listen(t testing.TB, o Options) *Listener {
	t.Helper()
	inner, err := loopback.Listen()
	require.NoError(t, err)
	ln, err := Listen(inner, o)
	require.NoError(t, err)
	t.Cleanup(ln.Shutdown)
	return ln
}

// pair connects a client to ln and returns both ends.
func pair(t testing.TB, ln *Listener) (*Conn, *net.TCPConn) {
	t.Helper()
	client := dial(t, ln)
	server, err := ln.Accept()
	require.NoError(t, err)
	return server.(*Conn), client
}

func dial(t testing.TB, ln net.Listener) *net.TCPConn {
	t.Helper()
	client, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client.(*net.TCPConn)
}

// A recorder is a Call that counts how often it was told, in a channel to wait on.
type recorder struct{ told chan struct{} }

func newRecorder() *recorder { return &recorder{told: make(chan struct{}, 8)} }

func (r *recorder) ClientGone() { r.told <- struct{}{} }

// awaitGone returns when the watcher has seen c's client leave.
func awaitGone(c *Conn) {
	r := newRecorder()
	c.Watch(r)
	<-r.told
	c.Unwatch()
}

// certificate makes a TLS configuration for both sides.
func certificate(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"worker"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(parsed)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		RootCAs:      roots, ServerName: "worker",
	}
}
