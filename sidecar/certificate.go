package sidecar

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/crypto"
)

// certificatePoll is how often the files are looked at.
const certificatePoll = 2 * time.Second

// A certificate follows a pair of PEM files: load into locals, publish whole,
// keep the last good pair.
type certificate struct {
	certFile, keyFile string
	log               *zap.Logger
	current           atomic.Pointer[tls.Certificate]

	mu sync.Mutex
	cert,
	key []byte // what was last read, good or not
	lastErr string // what was last complained of, said once
}

// newCertificate reads the pair; a pair that does not load is an error.
func newCertificate(certFile, keyFile string, log *zap.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	if _, err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// load reads the files and publishes them if they changed.
func (c *certificate) load() (changed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cert, err := crypto.ReadRegular(c.certFile)
	if err != nil {
		return false, fmt.Errorf("USHER_TLS_CERT_FILE: %w", err)
	}
	key, err := crypto.ReadRegular(c.keyFile)
	if err != nil {
		return false, fmt.Errorf("USHER_TLS_KEY_FILE: %w", err)
	}
	if bytes.Equal(cert, c.cert) && bytes.Equal(key, c.key) {
		return false, nil
	}
	c.cert, c.key = cert, key
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return false, fmt.Errorf("USHER_TLS_CERT_FILE and USHER_TLS_KEY_FILE: %w", err)
	}
	c.current.Store(&pair)
	return true, nil
}

// reload looks at the files now.
func (c *certificate) reload() {
	changed, err := c.load()
	switch {
	case err != nil && c.news(err):
		c.log.Warn("certificate not reloaded; the last good one stays in force", zap.Error(err))
	case changed:
		c.log.Info("certificate reloaded")
	}
}

// news tells whether err was not said yet.
func (c *certificate) news(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	said := c.lastErr == err.Error()
	c.lastErr = err.Error()
	return !said
}

// run follows the files until ctx ends.
func (c *certificate) run(ctx context.Context) {
	tick := time.NewTicker(certificatePoll)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.reload()
		case <-ctx.Done():
			return
		}
	}
}
