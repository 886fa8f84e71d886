package crypto

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of Verify.
var (
	ErrNoKey        = errors.New("no public key yet")
	ErrBadSignature = errors.New("signature does not verify")
)

// A KeySet holds the key in force and, for a grace after a change, the one
// before it. Make it with NewKeySet; it is safe for concurrent use, and
// verifying takes no lock.
type KeySet struct {
	schema  Schema
	grace   time.Duration
	mu      sync.Mutex // between Installs
	current atomic.Pointer[keys]
}

// keys is one state of a KeySet; it is never changed.
type keys struct {
	current, previous *Key
	since             time.Time // the current key is in force
	fetched           time.Time // it was last installed
	until             time.Time // the previous one is accepted
}

// NewKeySet makes an empty set that accepts the alternatives of schema, and
// after a change the previous key for grace.
func NewKeySet(schema Schema, grace time.Duration) *KeySet {
	return &KeySet{schema: schema, grace: grace}
}

// Install puts k in force and reports whether that is a change. The same key
// again only notes that it was seen.
func (s *KeySet) Install(k *Key, now time.Time) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.current.Load()
	next := &keys{current: k, since: now, fetched: now}
	switch {
	case old == nil:
	case old.current.fingerprint == k.fingerprint:
		next = &keys{current: old.current, previous: old.previous, since: old.since, fetched: now, until: old.until}
		s.current.Store(next)
		return false
	default:
		next.previous, next.until = old.current, now.Add(s.grace)
	}
	s.current.Store(next)
	return true
}

// accepted lists the keys in force at now, the current one first.
func (k *keys) accepted(now time.Time) (list [2]*Key, n int) {
	if k == nil {
		return list, 0
	}
	list[0], n = k.current, 1
	if k.previous != nil && now.Before(k.until) {
		list[1], n = k.previous, 2
	}
	return list, n
}

// Accepted returns the fingerprints of the keys in force at now, the current one
// first.
func (s *KeySet) Accepted(now time.Time) (prints [2]Fingerprint, n int) {
	list, n := s.current.Load().accepted(now)
	for i := range n {
		prints[i] = list[i].fingerprint
	}
	return prints, n
}

// A Proof says what verified.
type Proof struct {
	Key    Fingerprint
	Fields []Field // of the alternative, in their order; not to be changed
}

// Signs tells whether f was signed.
func (p Proof) Signs(f Field) bool { return slices.Contains(p.Fields, f) }

// Verify finds the alternative and the spelling of the cost that the signature
// fits, at the cost of one public-key operation a key for RSA. The algorithm is
// the key's: PKCS#1 v1.5 with SHA-256 (RFC 8017 section 8.2) or Ed25519 (RFC
// 8032). Errors: ErrNoKey, ErrBadSignature.
func (s *KeySet) Verify(m *Message, signature []byte, now time.Time) (Proof, error) {
	list, n := s.current.Load().accepted(now)
	if n == 0 {
		return Proof{}, ErrNoKey
	}
	if len(signature) == 0 {
		return Proof{}, ErrBadSignature
	}
	var buf [maxSpellings]string
	spellings := m.Cost.spellings(&buf)
	for _, k := range list[:n] {
		if fields := k.match(m, s.schema.alternatives, spellings, signature); fields != nil {
			return Proof{k.fingerprint, fields}, nil
		}
	}
	return Proof{}, ErrBadSignature
}

// match returns the alternative that verifies, or nil.
func (k *Key) match(m *Message, alternatives [][]Field, spellings []string, signature []byte) []Field {
	check, ok := k.prepare(signature)
	if !ok {
		return nil
	}
	var scratch [512]byte
	message := scratch[:0]
	for _, fields := range alternatives {
		if !m.carries(fields) {
			continue
		}
		tries := spellings
		if !slices.Contains(fields, FieldCost) {
			tries = tries[:1]
		}
		for _, cost := range tries {
			message = appendMessage(message[:0], &indented, fields, m, cost)
			if check.fits(message) {
				return fields
			}
		}
	}
	return nil
}

func (m *Message) carries(fields []Field) bool {
	for _, f := range fields {
		if !m.has(f) {
			return false
		}
	}
	return true
}

// A check is one signature, ready to be compared with messages.
type check struct {
	key       *Key
	signature []byte
	digest    []byte // RSA: what the signature stands for
}

// prepare does what is to be done once a signature; false when no message can
// fit it.
func (k *Key) prepare(signature []byte) (check, bool) {
	if k.rsa == nil {
		return check{key: k, signature: signature}, len(signature) == ed25519.SignatureSize
	}
	encoded, ok := k.rsa.recover(signature)
	if !ok {
		return check{}, false
	}
	digest, ok := recoveredDigest(encoded)
	return check{key: k, digest: digest}, ok
}

func (c *check) fits(message []byte) bool {
	if c.key.rsa == nil {
		return ed25519.Verify(c.key.ed25519, message, c.signature)
	}
	digest := sha256.Sum256(message)
	return bytes.Equal(digest[:], c.digest)
}

// Status is what a KeySet holds.
type Status struct {
	Algorithm string      // "" without a key
	Current   Fingerprint // of the key in force
	Since     time.Time   // it is in force
	Fetched   time.Time   // it was last seen at its source; zero without a key
	Previous  *Fingerprint
	Until     time.Time // the previous key is accepted
}

// Status describes the keys at now.
func (s *KeySet) Status(now time.Time) Status {
	k := s.current.Load()
	list, n := k.accepted(now)
	if n == 0 {
		return Status{}
	}
	st := Status{Algorithm: k.current.algorithm, Current: k.current.fingerprint, Since: k.since, Fetched: k.fetched}
	if n == 2 {
		st.Previous, st.Until = &list[1].fingerprint, k.until
	}
	return st
}
