package front

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/usher-sidecar/usher/sidecar/socket"
)

func serverConfig(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// Over TLS a connection that waits holds no buffer, and all bytes arrive in order,
// whatever records they come in.
func TestTLSWaitsWithoutABuffer(t *testing.T) {
	config := serverConfig(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = ln.Close() }()
	var held atomic.Int64
	pool := &sync.Pool{New: func() any { held.Add(1); b := make([]byte, 64); return &b }}
	rapid.Check(t, func(r *rapid.T) {
		pieces := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 1, 200), 1, 8).Draw(r, "pieces")
		version := rapid.SampledFrom([]uint16{tls.VersionTLS12, tls.VersionTLS13}).Draw(r, "version")
		plain, err := net.Dial("tcp", ln.Addr().String())
		require.NoError(r, err)
		client := tls.Client(plain, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
		defer func() { _ = client.Close() }()
		accepted, err := ln.Accept()
		require.NoError(r, err)
		defer func() { _ = accepted.Close() }()
		require.NoError(r, accepted.SetDeadline(time.Now().Add(10*time.Second)))
		turn := &turnConn{Conn: accepted, ended: true}
		s := &secureConn{Conn: tls.Server(turn, config), turn: turn}
		go func() { _ = client.Handshake() }()
		require.NoError(r, s.Handshake())

		a := socket.NewAhead(pool)
		filled := make(chan error)
		fill := func() { filled <- a.Fill(s) }
		before := held.Load()
		go fill()
		var want, got []byte
		for _, p := range pieces {
			require.Equal(r, before, held.Load(), "a buffer is held while nothing has arrived")
			_, err := client.Write(p)
			require.NoError(r, err)
			want = append(want, p...)
			for len(got) < len(want) {
				require.NoError(r, <-filled)
				got = append(got, a.Bytes()...)
				a.Release()
				pool = &sync.Pool{New: pool.New} // so that the next Get makes one
				a = socket.NewAhead(pool)
				before = held.Load()
				go fill()
			}
		}
		require.Equal(r, want, got)
		require.NoError(r, client.Close())
		require.ErrorIs(r, <-filled, io.EOF)
	})
}
