package front

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/sidecar/hangup"
	"github.com/usher-sidecar/usher/test/full"
)

// More clients want to shake hands than can be served in time: as many as can be are,
// whether they come from one address or from many. What has cost a signature is
// completed, and nothing is signed for clients that cannot be served in time.
func TestHandshakesUnderOverload(t *testing.T) {
	const (
		clients   = 150
		signature = 200 * time.Millisecond
		timeout   = 10 * time.Second // enough for 50
	)
	lasts := full.Or(20*time.Second, time.Minute)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	for name, origins := range map[string]int{"one address": 1, "many": clients} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &handshaker{turns: newTurns(1, mostWaiting), config: &tls.Config{
					SessionTicketsDisabled: true,
					GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
						time.Sleep(signature)
						return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}, nil
					},
				}}
				var done atomic.Int64
				var all sync.WaitGroup
				end := time.Now().Add(lasts)
				for n := range clients {
					all.Go(func() {
						for time.Now().Before(end) {
							if shakes(d, origin(byte(n%origins)), timeout) {
								done.Add(1)
							}
						}
					})
				}
				all.Wait()
				require.Greater(t, done.Load(), int64(lasts/signature)*8/10)
			})
		})
	}
}

// shakes makes the handshake of one client.
func shakes(d *handshaker, from netip.Addr, timeout time.Duration) bool {
	near, far := net.Pipe()
	defer func() { _ = far.Close() }()
	deadline := time.Now().Add(timeout)
	_, _ = near.SetDeadline(deadline), far.SetDeadline(deadline)
	s := newSecureConn(near, &hangup.Conn{}, d)
	s.turn.deadline, s.turn.origin = deadline, func() netip.Addr { return from }
	served := make(chan error)
	go func() {
		err := s.Handshake()
		s.turn.end()
		_ = near.Close()
		served <- err
	}()
	_ = tls.Client(far, &tls.Config{InsecureSkipVerify: true}).Handshake()
	return <-served == nil
}
