package config

import (
	"crypto/tls"
	"errors"
	"strings"
	"time"

	"github.com/usher-sidecar/usher/crypto"
	"github.com/usher-sidecar/usher/crypto/certificate"
)

// TLS says how clients connect.
type TLS struct {
	Pairs            []certificate.Files // none: no TLS; two: an ECDSA and an RSA one
	ClientCAFile     string              // "": no client certificates are required
	HandshakeTimeout time.Duration
}

// readTLS reads the settings of TLS and checks the files they name.
func readTLS(l *loader) {
	c, t := &l.cfg.TLS, &l.text
	c.HandshakeTimeout = l.duration("USHER_HANDSHAKE_TIMEOUT", t.HandshakeTimeout, time.Millisecond)
	certs, keys := list(t.TLSCertFile), list(t.TLSKeyFile)
	if len(certs) == 0 && len(keys) == 0 && useSSL(l) {
		certs, keys = []string{"/etc/instance.crt"}, []string{"/etc/instance.key"}
	}
	const both = "USHER_TLS_CERT_FILE, USHER_TLS_KEY_FILE"
	switch {
	case len(certs) == 0 && len(keys) > 0:
		l.fault("USHER_TLS_CERT_FILE", "is required with USHER_TLS_KEY_FILE")
	case len(keys) == 0 && len(certs) > 0:
		l.fault("USHER_TLS_KEY_FILE", "is required with USHER_TLS_CERT_FILE")
	case len(certs) != len(keys):
		l.fault(both, "name %d and %d files: each certificate has its key, in the same order", len(certs), len(keys))
	case len(certs) > certificate.MaxPairs:
		l.fault(both, "%s", certificate.ErrMany)
	default:
		for i := range certs {
			c.Pairs = append(c.Pairs, certificate.Files{Cert: certs[i], Key: keys[i]})
		}
		if err := certificate.Together(readKeyPairs(l, c.Pairs)); err != nil {
			l.fault(both, "%s", err)
		}
	}
	readClientCA(l, t.TLSClientCAFile, len(certs) > 0)
}

// readKeyPairs reads the pairs. It reports a fault for each that does not load, and
// leaves it out.
func readKeyPairs(l *loader, pairs []certificate.Files) (good []*tls.Certificate) {
	for _, files := range pairs {
		cert, certErr := crypto.ReadRegular(files.Cert)
		if certErr != nil {
			l.fault("USHER_TLS_CERT_FILE", "cannot be read: %s", certErr)
		}
		key, keyErr := crypto.ReadRegular(files.Key)
		if keyErr != nil {
			l.fault("USHER_TLS_KEY_FILE", "cannot be read: %s", keyErr)
		}
		if certErr != nil || keyErr != nil {
			continue
		}
		pair, err := certificate.Parse(cert, key)
		if err != nil {
			l.fault("USHER_TLS_CERT_FILE, USHER_TLS_KEY_FILE", "%s", err)
			continue
		}
		good = append(good, pair)
	}
	return good
}

// readClientCA reads the CA certificates for clients.
func readClientCA(l *loader, file string, secure bool) {
	const name = "USHER_TLS_CLIENT_CA_FILE"
	l.cfg.TLS.ClientCAFile = file
	if file == "" {
		return
	}
	if !secure {
		l.fault(name, "needs USHER_TLS_CERT_FILE: without TLS no client can show a certificate")
	}
	text, err := crypto.ReadRegular(file)
	if err != nil {
		l.fault(name, "cannot be read: %s", err)
	} else if _, err := certificate.ParseAuthorities(text); errors.Is(err, certificate.ErrNoAuthority) {
		l.fault(name, "%s %s", file, err)
	} else if err != nil {
		l.fault(name, "%s: %s", file, err)
	}
}

// inForce shows the files that are read.
func (c *TLS) inForce() map[string]string {
	var certs, keys []string
	for _, files := range c.Pairs {
		certs, keys = append(certs, files.Cert), append(keys, files.Key)
	}
	return map[string]string{
		"USHER_TLS_CERT_FILE": strings.Join(certs, ","),
		"USHER_TLS_KEY_FILE":  strings.Join(keys, ","),
	}
}
