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

// expiresSoon is how long before its end a certificate is warned of; the alert in
// deploy/prometheus has the same.
const expiresSoon = 14 * 24 * time.Hour

// A certificate follows a pair of PEM files: load into locals, publish whole,
// keep the last good pair.
type certificate struct {
	certFile, keyFile string
	log               *zap.Logger
	current           atomic.Pointer[tls.Certificate]
	fault             atomic.Pointer[string] // of the last try; nil: it went well

	mu        sync.Mutex
	cert, key []byte // what was last read, good or not
	bad       error  // what is wrong with it
}

// newCertificate reads the pair; a pair that does not load is an error.
func newCertificate(certFile, keyFile string, log *zap.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	if _, err := c.load(); err != nil {
		return nil, err
	}
	if time.Until(c.expiry()) < expiresSoon {
		log.Warn("certificate expires soon, or has expired", zap.Time("expires", c.expiry()))
	}
	return c, nil
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// expiry is when the certificate in force expires; that of those who signed it
// is theirs to tell.
func (c *certificate) expiry() time.Time { return c.current.Load().Leaf.NotAfter }

// load reads the files and publishes them if they changed and are good.
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
		return false, c.bad
	}
	c.cert, c.key, c.bad = cert, key, nil
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		c.bad = fmt.Errorf("USHER_TLS_CERT_FILE and USHER_TLS_KEY_FILE: %w", err)
		return true, c.bad
	}
	c.current.Store(&pair)
	return true, nil
}

// reload looks at the files now. Each change for the worse is said, and a fault
// that stays again only where somebody asked.
func (c *certificate) reload(asked bool) {
	changed, err := c.load()
	last := c.fault.Load()
	if err == nil {
		c.fault.Store(nil)
		if changed {
			c.log.Info("certificate reloaded", zap.Time("expires", c.expiry()))
		}
		return
	}
	text := err.Error()
	c.fault.Store(&text)
	if changed || asked || last == nil || *last != text {
		c.log.Warn("certificate not reloaded; the last good one stays in force", zap.Error(err))
	}
}

// warnings are what the status page warns of.
func (c *certificate) warnings() (list []string) {
	if fault := c.fault.Load(); fault != nil {
		list = append(list, "certificate not reloaded; the last good one stays in force: "+*fault)
	}
	if end := c.expiry(); time.Until(end) < expiresSoon {
		list = append(list, "USHER_TLS_CERT_FILE: the certificate expires, or has expired, at "+end.Format(time.RFC3339))
	}
	return list
}

// run follows the files until ctx ends.
func (c *certificate) run(ctx context.Context) {
	tick := time.NewTicker(certificatePoll)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.reload(false)
		case <-ctx.Done():
			return
		}
	}
}
