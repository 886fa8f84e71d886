package sidecar

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/config"
	"github.com/usher-sidecar/usher/crypto/certificate"
)

// certificatePoll is how often the files are checked.
const certificatePoll = 2 * time.Second

// expiresSoon is how long before a certificate expires the log warns of it. The alert
// in deploy/prometheus uses the same time.
const expiresSoon = 14 * 24 * time.Hour

// certificates follows the TLS files and logs what happens to them.
type certificates struct {
	*certificate.Store
	log    *zap.Logger
	faults []atomic.Pointer[certificateFault] // found by the last check, in the order of Store.Load; nil: none
}

// A certificateFault is what is wrong with one of the files.
type certificateFault struct {
	part certificate.Part
	text string
}

// note returns the text for the status page.
func (f *certificateFault) note() string {
	switch f.part {
	case certificate.PartStaple:
		return "OCSP response not stapled: " + f.text
	case certificate.PartAuthorities:
		return "client CA certificates not reloaded; the last good ones stay in force: " + f.text
	}
	return "certificate not reloaded; the last good one stays in force: " + f.text
}

// settingOf names the setting that a part comes from.
var settingOf = map[certificate.Part]string{
	certificate.PartPair:        "USHER_TLS_CERT_FILE, USHER_TLS_KEY_FILE",
	certificate.PartStaple:      "USHER_TLS_CERT_FILE",
	certificate.PartAuthorities: "USHER_TLS_CLIENT_CA_FILE",
}

// openCertificates reads the files that the settings name. It returns nil if TLS is
// not configured.
func openCertificates(cfg config.TLS, log *zap.Logger) (*certificates, error) {
	if len(cfg.Pairs) == 0 {
		return nil, nil
	}
	store, err := certificate.Open(cfg.Pairs, cfg.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("USHER_TLS_CERT_FILE, USHER_TLS_KEY_FILE, USHER_TLS_CLIENT_CA_FILE: %w", err)
	}
	c := &certificates{Store: store, log: log}
	c.faults = make([]atomic.Pointer[certificateFault], len(store.Load(time.Now())))
	for _, shown := range store.Shown() {
		c.sayKey(shown)
	}
	if time.Until(c.Expiry()) < expiresSoon {
		log.Warn("certificate expires soon, or has expired", zap.Time("expires", c.Expiry()))
	}
	c.reload(false)
	return c, nil
}

// sayKey logs the key's type, and what an RSA key costs.
func (c *certificates) sayKey(shown *tls.Certificate) {
	name := zap.String("key", certificate.KeyName(shown))
	if certificate.KindOf(shown) == certificate.RSA && len(c.Shown()) == 1 {
		c.log.Info("the certificate's key is RSA: a new connection costs about three times the CPU of one with an ECDSA P-256 key; see docs/tls.md", name)
		return
	}
	c.log.Info("certificate in force", name, zap.Bool("ocsp", shown.OCSPStaple != nil))
}

// reload checks the files now. It logs each new fault; one that persists is logged
// again only if asked is set.
func (c *certificates) reload(asked bool) {
	for i, change := range c.Load(time.Now()) {
		last := c.faults[i].Load()
		if change.Err == nil {
			c.faults[i].Store(nil)
			if change.Changed {
				c.sayReloaded(change.Part)
			}
			continue
		}
		fault := &certificateFault{change.Part, settingOf[change.Part] + ": " + change.Err.Error()}
		c.faults[i].Store(fault)
		if change.Changed || asked || last == nil || *last != *fault {
			c.sayFault(fault)
		}
	}
}

func (c *certificates) sayReloaded(part certificate.Part) {
	switch part {
	case certificate.PartPair:
		c.log.Info("certificate reloaded", zap.Time("expires", c.Expiry()))
	case certificate.PartStaple:
		c.log.Info("OCSP response reloaded")
	case certificate.PartAuthorities:
		c.log.Info("client CA certificates reloaded")
	}
}

func (c *certificates) sayFault(f *certificateFault) {
	switch text := zap.String("error", f.text); f.part {
	case certificate.PartPair:
		c.log.Warn("certificate not reloaded; the last good one stays in force", text)
	case certificate.PartStaple:
		c.log.Warn("OCSP response not stapled", text)
	case certificate.PartAuthorities:
		c.log.Warn("client CA certificates not reloaded; the last good ones stay in force", text)
	}
}

// warnings returns what the status page warns about.
func (c *certificates) warnings() (list []string) {
	for i := range c.faults {
		if fault := c.faults[i].Load(); fault != nil {
			list = append(list, fault.note())
		}
	}
	if end := c.Expiry(); time.Until(end) < expiresSoon {
		list = append(list, "USHER_TLS_CERT_FILE: the certificate expires, or has expired, at "+end.Format(time.RFC3339))
	}
	return list
}

// keys returns the types of the keys in force; none without TLS.
func (c *certificates) keys() (names []string) {
	if c != nil {
		for _, shown := range c.Shown() {
			names = append(names, certificate.KeyName(shown))
		}
	}
	return names
}

// config returns the TLS configuration; nil without TLS.
func (c *certificates) config() *tls.Config {
	if c == nil {
		return nil
	}
	return c.Config()
}

// expiry returns when the first certificate expires; zero without TLS.
func (c *certificates) expiry() time.Time {
	if c == nil {
		return time.Time{}
	}
	return c.Expiry()
}

// run follows the files until ctx ends.
func (c *certificates) run(ctx context.Context) {
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
