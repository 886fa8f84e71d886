package chaos

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/usher-sidecar/usher/test/autoscaler"
	"github.com/usher-sidecar/usher/test/rsakey"
)

// keys are the autoscaler's key, its earlier keys, and the server that publishes the
// public half, or lies.
type keys struct {
	server  *httptest.Server
	foreign *autoscaler.Key
	asked   atomic.Int64

	mu        sync.Mutex
	published *autoscaler.Key
	signing   *autoscaler.Key
	place     int
	lie       string
}

// newKeys makes the first key, and one that is never published.
func newKeys(t testing.TB, rsa bool) (*keys, error) {
	k := &keys{}
	var err error
	if rsa {
		k.signing, err = autoscaler.NewKey(rsakey.New(t))
	} else {
		k.signing, err = autoscaler.NewEd25519Key()
	}
	if err != nil {
		return nil, err
	}
	if k.foreign, err = autoscaler.NewEd25519Key(); err != nil {
		return nil, err
	}
	k.published = k.signing
	k.server = httptest.NewServer(k)
	t.Cleanup(k.server.Close)
	return k, nil
}

func (k *keys) url() string { return k.server.URL + "/pubkey/" }

// current returns the key that signs and its number.
func (k *keys) current() (*autoscaler.Key, int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.signing, k.place
}

// newKey makes a key. Most are Ed25519: an RSA signature takes a millisecond, which
// would be most of a campaign's time.
func newKey(rsa bool) (*autoscaler.Key, error) {
	if rsa {
		return autoscaler.NewRSAKey()
	}
	return autoscaler.NewEd25519Key()
}

// rotate makes a new key, publishes it and signs with it from now on.
func (k *keys) rotate(rsa bool) error {
	next, err := newKey(rsa)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.published, k.signing = next, next
	k.place++
	return nil
}

// lies are the ways in which the key server fails.
var lies = []string{"down", "500", "garbage", "empty", "weak", "endless"}

// tell sets how the server fails; "" means not at all.
func (k *keys) tell(lie string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lie = lie
}

// ServeHTTP implements http.Handler.
func (k *keys) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	k.asked.Add(1)
	k.mu.Lock()
	lie, pem := k.lie, k.published.PEM()
	k.mu.Unlock()
	switch lie {
	case "down":
		panic(http.ErrAbortHandler)
	case "500":
		w.WriteHeader(http.StatusInternalServerError)
	case "garbage":
		_, _ = io.WriteString(w, strings.Replace(pem, "A", "B", 3))
	case "empty":
	case "weak":
		_, _ = io.WriteString(w, "-----BEGIN PUBLIC KEY-----\nMDwwDQYJKoZIhvcNAQEBBQADKwAwKAIhALD8\n-----END PUBLIC KEY-----\n")
	case "endless":
		_, _ = io.WriteString(w, strings.Repeat("a", 16<<20))
	default:
		_, _ = io.WriteString(w, pem)
	}
}

// certificates are the files that Usher reads, and the certificates that clients
// trust.
type certificates struct {
	host      net.IP
	cert, key string // paths
	sessions  tls.ClientSessionCache

	mu    sync.Mutex
	known [][]byte // DER
}

func newCertificates(dir, address string) (*certificates, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	c := &certificates{
		host: net.ParseIP(host), cert: filepath.Join(dir, "tls.crt"), key: filepath.Join(dir, "tls.key"),
		sessions: tls.NewLRUClientSessionCache(clients),
	}
	_, err = c.swap()
	return c, err
}

// swap replaces the certificate and its key, one file after the other, and returns
// its serial number.
func (c *certificates) swap() (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	number := int64(len(c.known) + 1)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return 0, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(number), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{c.host},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return 0, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return 0, err
	}
	c.known = append(c.known, der)
	for path, block := range map[string]*pem.Block{
		c.key: {Type: "PRIVATE KEY", Bytes: secret}, c.cert: {Type: "CERTIFICATE", Bytes: der},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			return 0, err
		}
	}
	return number, nil
}

// client returns the settings of a client that trusts only the certificates known at
// the time of its handshake. If it resumes, it may use the session of an earlier
// client.
func (c *certificates) client(resumes bool) *tls.Config {
	settings := &tls.Config{InsecureSkipVerify: true, VerifyPeerCertificate: func(shown [][]byte, _ [][]*x509.Certificate) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, der := range c.known {
			if len(shown) > 0 && bytes.Equal(shown[0], der) {
				return nil
			}
		}
		return errors.New("a certificate that nobody made")
	}}
	if resumes {
		settings.ClientSessionCache = c.sessions
	}
	return settings
}

func sortedKeys[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
