package rig

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rsakey"
)

// An Issuer signs certificates.
type Issuer struct {
	t    testing.TB
	Cert *x509.Certificate
	Key  crypto.Signer
	Pool *x509.CertPool
}

func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotAfter: time.Now().Add(1000 * time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &Issuer{t, cert, key, pool}
}

// Issue returns a certificate chain of two: one for a new key, and the issuer's.
func (i *Issuer) Issue(kind x509.PublicKeyAlgorithm) tls.Certificate {
	i.t.Helper()
	var key crypto.Signer
	if kind == x509.RSA {
		key = rsakey.New(i.t)
	} else {
		curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(i.t, err)
		key = curve
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotAfter: time.Now().Add(1000 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, i.Cert, key.Public(), i.Key)
	require.NoError(i.t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(i.t, err)
	return tls.Certificate{Certificate: [][]byte{der, i.Cert.Raw}, PrivateKey: key, Leaf: leaf}
}

// Ping makes a TLS handshake and one request.
func Ping(address string, config *tls.Config) (state tls.ConnectionState, err error) {
	plain, err := net.DialTimeout("tcp", address, Patience)
	if err != nil {
		return state, err
	}
	c := tls.Client(plain, config)
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(Patience))
	if err := c.Handshake(); err != nil {
		return state, err
	}
	_, err = io.WriteString(c, "GET /ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if err != nil {
		return state, err
	}
	answer, err := io.ReadAll(c)
	if err == nil && !bytes.Contains(answer, []byte("pong")) {
		err = fmt.Errorf("answered %q", answer)
	}
	return c.ConnectionState(), err
}
