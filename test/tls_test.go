package test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	byteorder "encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ocsp"
)

// An issuer signs certificates.
type issuer struct {
	t    testing.TB
	cert *x509.Certificate
	key  crypto.Signer
	pool *x509.CertPool
}

func newIssuer(t testing.TB) *issuer {
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
	return &issuer{t, cert, key, pool}
}

// issue returns a certificate with a new key, and the issuer's after it.
func (i *issuer) issue(kind x509.PublicKeyAlgorithm) tls.Certificate {
	i.t.Helper()
	var key crypto.Signer
	var err error
	if kind == x509.RSA {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	require.NoError(i.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotAfter: time.Now().Add(1000 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, i.cert, key.Public(), i.key)
	require.NoError(i.t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(i.t, err)
	return tls.Certificate{Certificate: [][]byte{der, i.cert.Raw}, PrivateKey: key, Leaf: leaf}
}

// put writes a certificate and its key, each by a rename, the key first.
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
func twoPairs(t *testing.T, more env) (*usher, *issuer, string) {
	t.Helper()
	i, dir := newIssuer(t), t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	put(t, i.issue(x509.ECDSA), at("ec.pem"), at("ec.key"))
	put(t, i.issue(x509.RSA), at("rsa.pem"), at("rsa.key"))
	return start(t, settings(newModel(t, nil), newSigner(t)).with(env{
		"USHER_TLS_CERT_FILE": at("rsa.pem") + ", " + at("ec.pem"), "USHER_TLS_KEY_FILE": at("rsa.key") + ", " + at("ec.key"),
	}).with(more)), i, dir
}

// ping shakes hands and has a request answered.
func ping(address string, config *tls.Config) (state tls.ConnectionState, err error) {
	plain, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return state, err
	}
	c := tls.Client(plain, config)
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(patience))
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

// A hello is a ClientHello with what it offers, and nothing real behind it.
type hello struct {
	version uint16 // of SSL or TLS
	suites  []uint16
	groups  []uint16
}

// record is the hello as it goes over the wire.
func (h hello) record() []byte {
	vector := func(width int, body []byte) []byte {
		length := byteorder.BigEndian.AppendUint32(nil, uint32(len(body)))
		return append(length[4-width:], body...)
	}
	numbers := func(list []uint16) (b []byte) {
		for _, n := range list {
			b = byteorder.BigEndian.AppendUint16(b, n)
		}
		return b
	}
	var extensions []byte
	extension := func(id uint16, body []byte) {
		extensions = append(byteorder.BigEndian.AppendUint16(extensions, id), vector(2, body)...)
	}
	extension(10, vector(2, numbers(h.groups)))
	extension(11, vector(1, []byte{0}))
	extension(13, vector(2, numbers([]uint16{0x0403, 0x0804, 0x0401})))
	legacy := h.version
	if h.version == tls.VersionTLS13 {
		legacy = tls.VersionTLS12
		extension(43, vector(1, numbers([]uint16{h.version})))
		extension(51, vector(2, nil)) // no share: the server asks for one of a group it takes
	}
	body := append(byteorder.BigEndian.AppendUint16(nil, legacy), make([]byte, 32)...)
	body = append(body, vector(1, nil)...)
	body = append(body, vector(2, numbers(h.suites))...)
	body = append(body, vector(1, []byte{0})...)
	body = append(body, vector(2, extensions)...)
	return append([]byte{22, byte(min(legacy, 0x0301) >> 8), byte(min(legacy, 0x0301))}, vector(2, append([]byte{1}, vector(3, body)...))...)
}

// accepted reports whether a hello is answered with one, and not with an alert.
func (h hello) accepted(t *testing.T, address string) bool {
	t.Helper()
	c := dial(t, address)
	defer func() { _ = c.Close() }()
	c.write(string(h.record()))
	var header [6]byte
	_, err := io.ReadFull(c.in, header[:])
	require.NoError(t, err)
	require.Contains(t, []byte{21, 22}, header[0], "an alert or a handshake")
	return header[0] == 22 && header[5] == 2
}

// The tables of docs/tls.md are what is accepted, of all the versions, suites and
// groups that can be offered.
func TestWhatTLSOffers(t *testing.T) {
	t.Parallel()
	u, _, _ := twoPairs(t, nil)
	text, err := os.ReadFile("../docs/tls.md")
	require.NoError(t, err)
	code := func(hex string) uint16 {
		n, err := strconv.ParseUint(hex, 16, 16)
		require.NoError(t, err)
		return uint16(n)
	}
	suites := map[uint16][]uint16{}
	for _, row := range regexp.MustCompile("(?m)^\\| `0x(\\w+)` \\| `(\\w+)` \\| TLS 1\\.(\\d) \\|$").FindAllStringSubmatch(string(text), -1) {
		require.Equal(t, tls.CipherSuiteName(code(row[1])), row[2])
		version := map[string]uint16{"2": tls.VersionTLS12, "3": tls.VersionTLS13}[row[3]]
		suites[version] = append(suites[version], code(row[1]))
	}
	var groups []uint16
	for _, row := range regexp.MustCompile("(?m)^\\| `0x(\\w+)` \\| `(\\w+)` \\|$").FindAllStringSubmatch(string(text), -1) {
		require.Equal(t, tls.CurveID(code(row[1])).String(), row[2])
		groups = append(groups, code(row[1]))
	}
	require.Len(t, suites, 2)
	require.Len(t, groups, 7)
	versions := map[string]uint16{"SSL 3.0": 0x0300, "TLS 1.0": tls.VersionTLS10, "TLS 1.1": tls.VersionTLS11, "TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13}
	rows := regexp.MustCompile(`(?m)^\| ((?:SSL|TLS) \d\.\d) \| (accepted|refused) \|$`).FindAllStringSubmatch(string(text), -1)
	require.Len(t, rows, len(versions))
	for _, row := range rows {
		all := append(append([]uint16{}, suites[tls.VersionTLS12]...), suites[tls.VersionTLS13]...)
		all = append(all, tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA)
		require.Equal(t, row[2] == "accepted", hello{versions[row[1]], all, groups}.accepted(t, u.public), row[1])
	}
	for version, good := range suites {
		for _, suite := range good {
			require.True(t, hello{version, []uint16{suite}, groups}.accepted(t, u.public), "%04x of %04x", suite, version)
		}
		const scsv = 0x5600 // is no suite, and would hide those beside it
		eachBlock(append(good, scsv), func(rest []uint16) {
			require.False(t, hello{version, rest, groups}.accepted(t, u.public), "one from %04x to %04x of %04x", rest[0], rest[len(rest)-1], version)
		})
	}
	for _, group := range groups {
		require.True(t, hello{tls.VersionTLS13, suites[tls.VersionTLS13], []uint16{group}}.accepted(t, u.public), "%04x", group)
	}
	eachBlock(groups, func(rest []uint16) {
		require.False(t, hello{tls.VersionTLS13, suites[tls.VersionTLS13], rest}.accepted(t, u.public), "one from %04x to %04x", rest[0], rest[len(rest)-1])
	})
}

// eachBlock gives all 16-bit numbers but some, as many at once as a record holds.
func eachBlock(but []uint16, do func([]uint16)) {
	skip := map[uint16]bool{}
	for _, n := range but {
		skip[n] = true
	}
	var block []uint16
	for n := range 1 << 16 {
		if !skip[uint16(n)] {
			block = append(block, uint16(n))
		}
		if len(block) == 7000 || n == 1<<16-1 {
			do(block)
			block = nil
		}
	}
}

// Whatever name and protocol a client asks for, it is served, or told why not.
func TestNamesAndProtocols(t *testing.T) {
	t.Parallel()
	u, _, _ := twoPairs(t, nil)
	for _, name := range []string{"", "nobody.example", "127.0.0.1", "a_b"} {
		_, err := ping(u.public, &tls.Config{InsecureSkipVerify: true, ServerName: name})
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
		state, err := ping(u.public, &tls.Config{InsecureSkipVerify: true, NextProtos: tt.offered})
		if tt.refused {
			require.ErrorContains(t, err, "no application protocol")
			continue
		}
		require.NoError(t, err, tt.offered)
		require.Equal(t, tt.chosen, state.NegotiatedProtocol, tt.offered)
	}
}

// A client that takes RSA alone is shown that certificate, all others the ECDSA
// one; and a response beside the certificate is passed on, and followed.
func TestTwoPairsAndAStaple(t *testing.T) {
	t.Parallel()
	u, i, dir := twoPairs(t, nil)
	for suite, kind := range map[uint16]x509.PublicKeyAlgorithm{
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: x509.RSA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: x509.ECDSA,
	} {
		state, err := ping(u.public, &tls.Config{RootCAs: i.pool, ServerName: "127.0.0.1", MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite}})
		require.NoError(t, err)
		require.Equal(t, kind, state.PeerCertificates[0].PublicKeyAlgorithm)
	}
	state, err := ping(u.public, &tls.Config{RootCAs: i.pool, ServerName: "127.0.0.1"})
	require.NoError(t, err)
	require.Equal(t, x509.ECDSA, state.PeerCertificates[0].PublicKeyAlgorithm)
	require.Empty(t, state.OCSPResponse)

	staple, err := ocsp.CreateResponse(i.cert, i.cert, ocsp.Response{
		Status: ocsp.Good, SerialNumber: state.PeerCertificates[0].SerialNumber, ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour),
	}, i.key)
	require.NoError(t, err)
	replace(t, filepath.Join(dir, "ec.pem.ocsp"), staple)
	u.signal(syscall.SIGHUP)
	u.waitLine(`"OCSP response reloaded"`)
	state, err = ping(u.public, &tls.Config{RootCAs: i.pool, ServerName: "127.0.0.1"})
	require.NoError(t, err)
	require.Equal(t, staple, state.OCSPResponse)
	replace(t, filepath.Join(dir, "ec.pem.ocsp"), []byte("rubbish"))
	u.signal(syscall.SIGHUP)
	u.waitLine(`"OCSP response not passed on"`)
	state, err = ping(u.public, &tls.Config{RootCAs: i.pool, ServerName: "127.0.0.1"})
	require.NoError(t, err)
	require.Empty(t, state.OCSPResponse)
	_, page := u.get("/status.json")
	require.Contains(t, page, "OCSP response not passed on")
}

// A client must show a certificate of the authorities in force, and how that went
// is counted.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	a, b := newIssuer(t), newIssuer(t)
	file := filepath.Join(t.TempDir(), "ca.pem")
	inPEM := func(i *issuer) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.cert.Raw}) }
	replace(t, file, inPEM(a))
	u, i, _ := twoPairs(t, env{"USHER_TLS_CLIENT_CA_FILE": file})
	client := func(of *issuer) *tls.Config {
		c := &tls.Config{RootCAs: i.pool, ServerName: "127.0.0.1", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		if of != nil {
			mine := of.issue(x509.ECDSA)
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &mine, nil }
		}
		return c
	}
	ofA, ofB := client(a), client(b)
	try := func(c *tls.Config) error { _, err := ping(u.public, c); return err }
	require.ErrorContains(t, try(client(nil)), "certificate required")
	require.NoError(t, try(ofA))
	require.NoError(t, try(ofA), "resumed")
	require.Error(t, try(ofB))
	count := func(outcome string) float64 { return u.metric(`usher_tls_handshakes_total{outcome="` + outcome + `"}`) }
	require.Equal(t, []float64{1, 1, 2}, []float64{count("full"), count("resumed"), count("unverified")})

	replace(t, file, inPEM(b))
	u.signal(syscall.SIGHUP)
	u.waitLine(`"authorities of clients reloaded"`)
	require.Error(t, try(ofA))
	require.NoError(t, try(ofB))
}

// While certificates change as fast as they can be read, no handshake fails and
// nobody is shown a certificate without its key.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	u, i, dir := twoPairs(t, nil)
	stop := make(chan struct{})
	var wait sync.WaitGroup
	var shaken atomic.Int64
	failed := make(chan error, 4)
	for worker := range 4 {
		wait.Go(func() {
			config := &tls.Config{RootCAs: i.pool, ServerName: "127.0.0.1"}
			if worker%2 == 1 {
				config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			}
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := ping(u.public, config); err != nil {
					failed <- err
					return
				}
				shaken.Add(1)
			}
		})
	}
	reloads := func() (n int) {
		for _, line := range u.log() {
			n += bytes.Count([]byte(line), []byte(`"certificate reloaded"`))
		}
		return n
	}
	seen := map[string]bool{}
	for round := range 10 {
		before := shaken.Load()
		c := i.issue(x509.ECDSA)
		seen[c.Leaf.SerialNumber.String()] = true
		put(t, c, filepath.Join(dir, "ec.pem"), filepath.Join(dir, "ec.key"))
		u.signal(syscall.SIGHUP)
		require.Eventually(t, func() bool { return reloads() > round && (shaken.Load() > before || len(failed) > 0) }, patience, time.Millisecond)
	}
	close(stop)
	wait.Wait()
	require.Empty(t, failed)
	state, err := ping(u.public, &tls.Config{RootCAs: i.pool, ServerName: "127.0.0.1"})
	require.NoError(t, err)
	require.True(t, seen[state.PeerCertificates[0].SerialNumber.String()])
	require.Equal(t, float64(shaken.Load()+1), u.metric(`usher_tls_handshakes_total{outcome="full"}`)+u.metric(`usher_tls_handshakes_total{outcome="resumed"}`))
}
