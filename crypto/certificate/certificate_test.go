package certificate

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ocsp"

	"github.com/usher-sidecar/usher/test/rsakey"
)

// An authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  crypto.Signer
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: serial(), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &authority{t, cert, key}
}

func serial() *big.Int { n, _ := rand.Int(rand.Reader, big.NewInt(1<<62)); return n }

// issue signs a certificate for a key, and returns both in PEM.
func (a *authority) issue(key crypto.Signer, life time.Duration) (cert, private []byte) {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: serial(), NotAfter: time.Now().Add(life), DNSNames: []string{"worker"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	require.NoError(a.t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(a.t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func ecKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func rsaKey(t *testing.T) crypto.Signer {
	t.Helper()
	return rsakey.New(t)
}

// put writes a pair; its chain ends with the authority's certificate.
func put(t *testing.T, dir, name string, a *authority, key crypto.Signer) Files {
	t.Helper()
	cert, private := a.issue(key, time.Hour)
	f := Files{Cert: filepath.Join(dir, name+".crt"), Key: filepath.Join(dir, name+".key")}
	write(t, f.Cert, append(cert, a.pem()...))
	write(t, f.Key, private)
	return f
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".new", text, 0o600))
	require.NoError(t, os.Rename(path+".new", path))
}

// meet has a client and the server of a store shake hands and say a word each.
func meet(s *Store, client *tls.Config) (state tls.ConnectionState, clientErr, serverErr error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return state, err, nil
	}
	defer func() { _ = ln.Close() }()
	served := make(chan error, 1)
	go func() {
		plain, err := ln.Accept()
		if err != nil {
			served <- err
			return
		}
		c := tls.Server(plain, s.Config())
		defer func() { _ = c.Close() }()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err = c.HandshakeContext(ctx); err == nil {
			_, err = c.Write([]byte("w"))
		}
		served <- err
	}()
	client = client.Clone()
	client.InsecureSkipVerify = true
	plain, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return state, err, nil
	}
	c := tls.Client(plain, client)
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, clientErr = io.ReadFull(c, make([]byte, 1)) // takes the session ticket, too
	return c.ConnectionState(), clientErr, <-served
}

// Of two pairs a client is shown the ECDSA one, and the RSA one where it takes no
// other, whatever name it asks for and in whatever order they stand.
func TestPairIsChosenByTheClient(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	ec, rs := put(t, dir, "ec", a, ecKey(t)), put(t, dir, "rsa", a, rsaKey(t))
	for _, pairs := range [][]Files{{ec, rs}, {rs, ec}} {
		s, err := Open(pairs, "")
		require.NoError(t, err)
		for _, name := range []string{"", "worker", "nobody.example"} {
			for _, tt := range []struct {
				version uint16
				suite   uint16
				want    x509.PublicKeyAlgorithm
			}{
				{tls.VersionTLS13, 0, x509.ECDSA},
				{tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, x509.ECDSA},
				{tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, x509.RSA},
			} {
				client := &tls.Config{ServerName: name, MaxVersion: tt.version}
				if tt.suite != 0 {
					client.CipherSuites = []uint16{tt.suite}
				}
				state, err, _ := meet(s, client)
				require.NoError(t, err)
				require.Equal(t, tt.want, state.PeerCertificates[0].PublicKeyAlgorithm)
			}
		}
	}
	onlyRSA := &tls.ClientHelloInfo{SupportedVersions: []uint16{tls.VersionTLS13}, SignatureSchemes: []tls.SignatureScheme{tls.PSSWithSHA256}}
	s, err := Open([]Files{ec, rs}, "")
	require.NoError(t, err)
	require.Equal(t, RSA, KindOf(choose(onlyRSA, s.Shown())), "TLS 1.3, where the suite tells nothing")
	onlyRSA.SignatureSchemes = []tls.SignatureScheme{tls.Ed25519}
	require.NotNil(t, choose(onlyRSA, s.Shown()))
	require.Equal(t, []string{"ECDSA P-256", "RSA 2048"}, []string{KeyName(s.Shown()[0]), KeyName(s.Shown()[1])})

	_, err = Open([]Files{ec, ec}, "")
	require.ErrorIs(t, err, ErrKinds)
}

// Session tickets outlive a change of the certificate, and of the authorities.
func TestTicketsOutliveAReload(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	f := put(t, dir, "ec", a, ecKey(t))
	cas := filepath.Join(dir, "ca.pem")
	write(t, cas, a.pem())
	for _, file := range []string{"", cas} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			s, err := Open([]Files{f}, file)
			require.NoError(t, err)
			cert, key := a.issue(ecKey(t), time.Hour)
			mine, err := tls.X509KeyPair(cert, key)
			require.NoError(t, err)
			client := &tls.Config{
				ServerName: "worker", MaxVersion: version, Certificates: []tls.Certificate{mine},
				ClientSessionCache: tls.NewLRUClientSessionCache(1),
			}
			for round, resumed := range []bool{false, true, true, true} {
				state, err, _ := meet(s, client)
				require.NoError(t, err)
				require.Equal(t, resumed, state.DidResume, "round %d of %x with %q", round, version, file)
				put(t, dir, "ec", a, ecKey(t))
				write(t, cas, append(newAuthority(t).pem(), a.pem()...))
				for _, change := range s.Load(time.Now()) {
					require.NoError(t, change.Err)
					require.Equal(t, change.Part != PartStaple, change.Changed)
				}
			}
		}
	}
}

// A client without a certificate of the authorities is refused; an authority that
// is taken away takes its clients with it, those with a session ticket too.
func TestAuthoritiesAreFollowed(t *testing.T) {
	a, b, dir := newAuthority(t), newAuthority(t), t.TempDir()
	f := put(t, dir, "ec", a, ecKey(t))
	cas := filepath.Join(dir, "ca.pem")
	write(t, cas, a.pem())
	s, err := Open([]Files{f}, cas)
	require.NoError(t, err)
	client := func(by *authority) *tls.Config {
		c := &tls.Config{ServerName: "worker", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		if by != nil {
			cert, key := by.issue(ecKey(t), time.Hour)
			mine, err := tls.X509KeyPair(cert, key)
			require.NoError(t, err)
			// Shown whatever the server asks for.
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &mine, nil }
		}
		return c
	}
	ofA, ofB := client(a), client(b)
	try := func(c *tls.Config) error { _, clientErr, _ := meet(s, c); return clientErr }
	require.Error(t, try(client(nil)))
	require.NoError(t, try(ofA))
	require.NoError(t, try(ofA))
	require.Error(t, try(ofB))

	write(t, cas, []byte("rubbish"))
	require.Error(t, s.Load(time.Now())[2].Err)
	require.NoError(t, try(ofA), "the last good ones stay in force")
	write(t, cas, b.pem())
	require.NoError(t, s.Load(time.Now())[2].Err)
	require.Error(t, try(ofA), "its session ticket is no way around")
	require.NoError(t, try(ofB))
}

// An OCSP response is passed on while it is there, for this certificate, good and
// in force.
func TestStaple(t *testing.T) {
	a, b, dir, now := newAuthority(t), newAuthority(t), t.TempDir(), time.Now()
	f := put(t, dir, "ec", a, ecKey(t))
	s, err := Open([]Files{f}, "")
	require.NoError(t, err)
	response := func(by *authority, change func(*ocsp.Response)) []byte {
		r := ocsp.Response{
			Status: ocsp.Good, SerialNumber: s.Shown()[0].Leaf.SerialNumber,
			ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(time.Hour),
		}
		change(&r)
		der, err := ocsp.CreateResponse(by.cert, by.cert, r, by.key)
		require.NoError(t, err)
		return der
	}
	as := func(*ocsp.Response) {}
	for _, tt := range []struct {
		name string
		der  []byte
		at   time.Duration
		good bool
	}{
		{"good", response(a, as), 0, true},
		{"of somebody else", response(b, as), 0, false},
		{"of another certificate", response(a, func(r *ocsp.Response) { r.SerialNumber = big.NewInt(1) }), 0, false},
		{"revoked", response(a, func(r *ocsp.Response) { r.Status, r.RevokedAt = ocsp.Revoked, now }), 0, false},
		{"unknown", response(a, func(r *ocsp.Response) { r.Status = ocsp.Unknown }), 0, false},
		{"good still", response(a, as), 59 * time.Minute, true},
		{"too old by now", response(a, as), 61 * time.Minute, false},
		{"not yet", response(a, as), -2 * time.Hour, false},
		{"without an end", response(a, func(r *ocsp.Response) { r.NextUpdate = time.Time{} }), 100 * time.Hour, true},
		{"rubbish", []byte("rubbish"), 0, false},
		{"empty", []byte{}, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			write(t, f.Staple(), tt.der)
			change := s.Load(now.Add(tt.at))[1]
			state, err, _ := meet(s, &tls.Config{ServerName: "worker"})
			require.NoError(t, err)
			if tt.good {
				require.NoError(t, change.Err)
				require.Equal(t, tt.der, state.OCSPResponse)
			} else {
				require.ErrorContains(t, change.Err, f.Staple())
				require.Empty(t, state.OCSPResponse)
			}
		})
	}
	require.NoError(t, os.Remove(f.Staple()))
	change := s.Load(now)[1]
	require.True(t, change.Changed)
	require.NoError(t, change.Err)
	require.Nil(t, s.Shown()[0].OCSPStaple)

	// A new certificate does not go with the old one's response.
	write(t, f.Staple(), response(a, as))
	require.NoError(t, s.Load(now)[1].Err)
	put(t, dir, "ec", a, ecKey(t))
	require.Error(t, s.Load(now)[1].Err)
	require.Nil(t, s.Shown()[0].OCSPStaple)
}

// Of two pairs one is not replaced by another of the other one's kind.
func TestKindsStay(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	s, err := Open([]Files{put(t, dir, "ec", a, ecKey(t)), put(t, dir, "rsa", a, rsaKey(t))}, "")
	require.NoError(t, err)
	put(t, dir, "rsa", a, ecKey(t))
	require.ErrorIs(t, s.Load(time.Now())[2].Err, ErrKinds)
	require.Equal(t, RSA, KindOf(s.Shown()[1]))
	require.ErrorIs(t, s.Load(time.Now())[2].Err, ErrKinds, "and again")

	single, err := Open([]Files{{filepath.Join(dir, "ec.crt"), filepath.Join(dir, "ec.key")}}, "")
	require.NoError(t, err)
	put(t, dir, "ec", a, rsaKey(t))
	require.NoError(t, single.Load(time.Now())[0].Err)
	require.Equal(t, RSA, KindOf(single.Shown()[0]), "a single one may be of any kind")
}

func TestParseAuthorities(t *testing.T) {
	a := newAuthority(t)
	_, key := a.issue(ecKey(t), time.Hour)
	for name, tt := range map[string]struct {
		text []byte
		good bool
	}{
		"one":            {a.pem(), true},
		"two and a text": {append(append([]byte("Subject: somebody\n"), a.pem()...), newAuthority(t).pem()...), true},
		"none":           {nil, false},
		"text":           {[]byte("rubbish"), false},
		"a key beside":   {append(a.pem(), key...), false},
		"cut":            {a.pem()[:len(a.pem())-9], false},
		"second cut":     {append(a.pem(), a.pem()[:40]...), false},
		"no certificate": {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), false},
	} {
		pool, err := ParseAuthorities(tt.text)
		require.Equal(t, tt.good, err == nil, "%s: %v", name, err)
		require.Equal(t, tt.good, pool != nil, name)
	}
}

func FuzzParseAuthorities(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("-----BEGIN "))
	f.Fuzz(func(t *testing.T, text []byte) {
		pool, err := ParseAuthorities(text)
		require.Equal(t, err == nil, pool != nil)
	})
}
