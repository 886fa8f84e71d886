package certificate

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/usher-sidecar/usher/crypto"
)

// A Store follows the files that TLS needs. Make it with Open; its methods are safe
// for concurrent use.
type Store struct {
	pairs       []*pair
	authorities *followed[*tls.Config] // nil: clients are asked for no certificate
	base        *tls.Config
}

// A pair is a certificate with its key and its OCSP response.
type pair struct {
	files Files
	followed[*tls.Certificate]

	shown  atomic.Pointer[tls.Certificate] // the current one, with its response
	mu     sync.Mutex
	staple []byte // what was last read; nil: there is no file
}

// suites are the cipher suites for TLS 1.2: only those with forward secrecy and
// authenticated encryption, which all current clients support. Those of TLS 1.3
// cannot be chosen.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// Open reads the pairs, of which Together must hold, and the authorities whose
// certificates clients must have, if that file is named. Errors: those of the files
// and of what is in them, each with the file's name.
func Open(pairs []Files, authorities string) (*Store, error) {
	s := &Store{base: &tls.Config{
		MinVersion:   tls.VersionTLS12,
		CipherSuites: suites,
		NextProtos:   []string{"http/1.1"},
	}}
	s.base.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return choose(hello, s.Shown()), nil
	}
	for _, files := range pairs {
		p := &pair{files: files}
		p.read = func() ([][]byte, error) { return readAll(files.Cert, files.Key) }
		p.make = func(texts [][]byte) (*tls.Certificate, error) { return s.accept(p, texts) }
		if _, err := p.load(); err != nil {
			return nil, err
		}
		p.shown.Store(*p.current.Load())
		_, _ = p.loadStaple(time.Now())
		s.pairs = append(s.pairs, p)
	}
	if err := Together(s.Shown()); err != nil {
		return nil, err
	}
	if authorities != "" {
		s.follow(authorities)
		if _, err := s.authorities.load(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// follow asks clients for a certificate of the authorities in a file. The settings
// that a client is served with are made anew when they change; what encrypts
// session tickets stays that of base (crypto/tls takes the keys of the settings it
// was started with where those of the client have none), so that it is rotated and
// outlives a change.
func (s *Store) follow(file string) {
	s.base.ClientAuth = tls.RequireAndVerifyClientCert
	s.authorities = &followed[*tls.Config]{
		read: func() ([][]byte, error) { return readAll(file) },
		make: func(texts [][]byte) (*tls.Config, error) {
			pool, err := ParseAuthorities(texts[0])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			return s.withAuthorities(pool), nil
		},
	}
	s.base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return *s.authorities.current.Load(), nil
	}
}

func (s *Store) withAuthorities(pool *x509.CertPool) *tls.Config {
	c := s.base.Clone()
	c.ClientCAs = pool
	return c
}

// accept makes a pair of what was read; with another pair it must go together.
func (s *Store) accept(p *pair, texts [][]byte) (*tls.Certificate, error) {
	made, err := Parse(texts[0], texts[1])
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", p.files.Cert, p.files.Key, err)
	}
	together := []*tls.Certificate{made}
	for _, other := range s.pairs {
		if other != p {
			together = append(together, other.shown.Load())
		}
	}
	if err := Together(together); err != nil {
		return nil, fmt.Errorf("%s: %w", p.files.Cert, err)
	}
	return made, nil
}

// readAll reads files.
func readAll(files ...string) ([][]byte, error) {
	texts := make([][]byte, len(files))
	for i, file := range files {
		text, err := crypto.ReadRegular(file)
		if err != nil {
			return nil, err
		}
		texts[i] = text
	}
	return texts, nil
}

// loadStaple reads the OCSP response beside the certificate, and staples it while
// it is there and good, which also depends on the time.
func (p *pair) loadStaple(now time.Time) (changed bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	current := *p.current.Load()
	response, err := crypto.ReadRegular(p.files.Staple())
	if errors.Is(err, fs.ErrNotExist) {
		response, err = nil, nil
	} else if err == nil {
		err = checkStaple(current, response, now)
	}
	changed = !equal([][]byte{response}, [][]byte{p.staple})
	p.staple = response
	if err != nil {
		err = fmt.Errorf("%s: %w", p.files.Staple(), err)
		response = nil
	}
	with := *current
	with.OCSPStaple = response
	p.shown.Store(&with)
	return changed, err
}

// Config returns the configuration to start a server with, which must keep it for
// its whole life.
func (s *Store) Config() *tls.Config { return s.base }

// Shown returns the certificates in force, in the order of the files.
func (s *Store) Shown() []*tls.Certificate {
	list := make([]*tls.Certificate, len(s.pairs))
	for i, p := range s.pairs {
		list[i] = p.shown.Load()
	}
	return list
}

// Expiry returns when the first of the certificates in force expires, not counting
// their issuers.
func (s *Store) Expiry() time.Time {
	var first time.Time
	for _, c := range s.Shown() {
		if first.IsZero() || c.Leaf.NotAfter.Before(first) {
			first = c.Leaf.NotAfter
		}
	}
	return first
}

// A Part is the part of a Store that a Change concerns.
type Part int

// The parts of a Store.
const (
	PartPair Part = iota
	PartStaple
	PartAuthorities
)

// A Change is the result of checking the files of one part.
type Change struct {
	Part    Part
	Changed bool // something else was there than the last time
	Err     error
}

// Load checks all files now and puts into force what changed and is good. It
// returns two changes for each pair, in the order of the files, and then the one of
// the authorities.
func (s *Store) Load(now time.Time) []Change {
	var list []Change
	for _, p := range s.pairs {
		changed, err := p.load()
		list = append(list, Change{PartPair, changed, err})
		changed, err = p.loadStaple(now)
		list = append(list, Change{PartStaple, changed, err})
	}
	if s.authorities != nil {
		changed, err := s.authorities.load()
		list = append(list, Change{PartAuthorities, changed, err})
	}
	return list
}
