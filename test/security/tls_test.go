package security

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ocsp"

	"github.com/usher-sidecar/usher/test/rig"
)

// put replaces a certificate and its key, each by a rename, the key first.
func put(t testing.TB, c tls.Certificate, cert, key string) {
	t.Helper()
	pkcs8, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	require.NoError(t, err)
	replace(t, key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	var chain []byte
	for _, der := range c.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	replace(t, cert, chain)
}

func replace(t testing.TB, path string, text []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".new", text, 0o600))
	require.NoError(t, os.Rename(path+".new", path))
}

// twoPairs starts an usher with an ECDSA and an RSA pair.
func twoPairs(t *testing.T, more rig.Env) (*rig.Usher, *rig.Issuer, string) {
	t.Helper()
	i, dir := rig.NewIssuer(t), t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	put(t, i.Issue(x509.ECDSA), at("ec.pem"), at("ec.key"))
	put(t, i.Issue(x509.RSA), at("rsa.pem"), at("rsa.key"))
	return rig.Start(t, rig.Settings(rig.NewModel(t, nil), rig.NewSigner(t)).With(rig.Env{
		"USHER_TLS_CERT_FILE": at("rsa.pem") + ", " + at("ec.pem"), "USHER_TLS_KEY_FILE": at("rsa.key") + ", " + at("ec.key"),
	}).With(more)), i, dir
}

// Whatever name and protocol a client asks for, it is served or told why not.
func TestNamesAndProtocols(t *testing.T) {
	t.Parallel()
	u, _, _ := twoPairs(t, nil)
	for _, name := range []string{"", "nobody.example", "127.0.0.1", "a_b"} {
		_, err := rig.Ping(u.Public, &tls.Config{InsecureSkipVerify: true, ServerName: name})
		require.NoError(t, err, name)
	}
	for _, tt := range []struct {
		offered []string
		chosen  string
		refused bool
	}{
		{nil, "", false},
		{[]string{"http/1.1"}, "http/1.1", false},
		{[]string{"h2", "http/1.1"}, "http/1.1", false},
		{[]string{"h2"}, "", true},
		{[]string{"smtp"}, "", true},
	} {
		state, err := rig.Ping(u.Public, &tls.Config{InsecureSkipVerify: true, NextProtos: tt.offered})
		if tt.refused {
			require.ErrorContains(t, err, "no application protocol")
			continue
		}
		require.NoError(t, err, tt.offered)
		require.Equal(t, tt.chosen, state.NegotiatedProtocol, tt.offered)
	}
}

// A client that accepts only RSA gets that certificate, all others the ECDSA one. An
// OCSP response beside a certificate is stapled, and its changes are noticed.
func TestTwoPairsAndAStaple(t *testing.T) {
	t.Parallel()
	u, i, dir := twoPairs(t, nil)
	for suite, kind := range map[uint16]x509.PublicKeyAlgorithm{
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: x509.RSA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: x509.ECDSA,
	} {
		state, err := rig.Ping(u.Public, &tls.Config{RootCAs: i.Pool, ServerName: "127.0.0.1", MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite}})
		require.NoError(t, err)
		require.Equal(t, kind, state.PeerCertificates[0].PublicKeyAlgorithm)
	}
	state, err := rig.Ping(u.Public, &tls.Config{RootCAs: i.Pool, ServerName: "127.0.0.1"})
	require.NoError(t, err)
	require.Equal(t, x509.ECDSA, state.PeerCertificates[0].PublicKeyAlgorithm)
	require.Empty(t, state.OCSPResponse)

	staple, err := ocsp.CreateResponse(i.Cert, i.Cert, ocsp.Response{
		Status: ocsp.Good, SerialNumber: state.PeerCertificates[0].SerialNumber, ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour),
	}, i.Key)
	require.NoError(t, err)
	replace(t, filepath.Join(dir, "ec.pem.ocsp"), staple)
	u.Signal(syscall.SIGHUP)
	u.WaitLine(`"OCSP response reloaded"`)
	state, err = rig.Ping(u.Public, &tls.Config{RootCAs: i.Pool, ServerName: "127.0.0.1"})
	require.NoError(t, err)
	require.Equal(t, staple, state.OCSPResponse)
	replace(t, filepath.Join(dir, "ec.pem.ocsp"), []byte("rubbish"))
	u.Signal(syscall.SIGHUP)
	u.WaitLine(`"OCSP response not stapled"`)
	state, err = rig.Ping(u.Public, &tls.Config{RootCAs: i.Pool, ServerName: "127.0.0.1"})
	require.NoError(t, err)
	require.Empty(t, state.OCSPResponse)
	_, page := u.Get("/status.json")
	require.Contains(t, page, "OCSP response not stapled")
}

// A client must present a certificate of a current authority, and the results are
// counted.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	a, b := rig.NewIssuer(t), rig.NewIssuer(t)
	file := filepath.Join(t.TempDir(), "ca.pem")
	inPEM := func(i *rig.Issuer) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Cert.Raw})
	}
	replace(t, file, inPEM(a))
	u, i, _ := twoPairs(t, rig.Env{"USHER_TLS_CLIENT_CA_FILE": file})
	client := func(of *rig.Issuer) *tls.Config {
		c := &tls.Config{RootCAs: i.Pool, ServerName: "127.0.0.1", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		if of != nil {
			mine := of.Issue(x509.ECDSA)
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &mine, nil }
		}
		return c
	}
	ofA, ofB := client(a), client(b)
	try := func(c *tls.Config) error { _, err := rig.Ping(u.Public, c); return err }
	require.ErrorContains(t, try(client(nil)), "certificate required")
	require.NoError(t, try(ofA))
	require.NoError(t, try(ofA), "resumed")
	require.Error(t, try(ofB))
	u.WaitMetric(`usher_tls_handshakes_total{outcome="unverified"}`, 2) // counted after the alert
	count := func(outcome string) float64 { return u.Metric(`usher_tls_handshakes_total{outcome="` + outcome + `"}`) }
	require.Equal(t, []float64{1, 1, 2}, []float64{count("full"), count("resumed"), count("unverified")})

	replace(t, file, inPEM(b))
	u.Signal(syscall.SIGHUP)
	u.WaitLine(`"client CA certificates reloaded"`)
	require.Error(t, try(ofA))
	require.NoError(t, try(ofB))
}

// While certificates change as fast as they can be read, no handshake fails and no
// certificate is served with another's key.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	u, i, dir := twoPairs(t, nil)
	stop := make(chan struct{})
	var wait sync.WaitGroup
	var shaken atomic.Int64
	failed := make(chan error, 4)
	for worker := range 4 {
		wait.Go(func() {
			config := &tls.Config{RootCAs: i.Pool, ServerName: "127.0.0.1"}
			if worker%2 == 1 {
				config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			}
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := rig.Ping(u.Public, config); err != nil {
					failed <- err
					return
				}
				shaken.Add(1)
			}
		})
	}
	reloads := func() (n int) {
		for _, line := range u.Log() {
			n += bytes.Count([]byte(line), []byte(`"certificate reloaded"`))
		}
		return n
	}
	seen := map[string]bool{}
	for round := range 10 {
		before := shaken.Load()
		c := i.Issue(x509.ECDSA)
		seen[c.Leaf.SerialNumber.String()] = true
		put(t, c, filepath.Join(dir, "ec.pem"), filepath.Join(dir, "ec.key"))
		u.Signal(syscall.SIGHUP)
		require.Eventually(t, func() bool { return len(failed) > 0 || reloads() > round && shaken.Load() > before }, rig.Patience, time.Millisecond)
	}
	close(stop)
	wait.Wait()
	close(failed)
	for err := range failed {
		require.NoError(t, err)
	}
	state, err := rig.Ping(u.Public, &tls.Config{RootCAs: i.Pool, ServerName: "127.0.0.1"})
	require.NoError(t, err)
	require.True(t, seen[state.PeerCertificates[0].SerialNumber.String()])
	require.Equal(t, float64(shaken.Load()+1), u.Metric(`usher_tls_handshakes_total{outcome="full"}`)+u.Metric(`usher_tls_handshakes_total{outcome="resumed"}`))
}
