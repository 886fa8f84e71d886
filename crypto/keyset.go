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

// maxRetired is how many keys at most are in their grace period: as many as one change
// can retire.
const maxRetired = MaxKeys

// MaxAccepted is how many keys a KeySet accepts at once, at most.
const MaxAccepted = MaxKeys + maxRetired

// A KeySet holds the keys in force and, for a grace period after a change, the
// previous ones. Make it with NewKeySet; it is safe for concurrent use, and
// verifying takes no lock.
type KeySet struct {
	schema  Schema
	grace   time.Duration
	mu      sync.Mutex // between Installs
	current atomic.Pointer[keys]
	proved  atomic.Pointer[Key] // the key that last verified a ticket
}

// keys is one state of a KeySet; it is never changed.
type keys struct {
	held    []heldKey           // those in force, then the retired ones, the latest first
	prints  [][sha256.Size]byte // of all of held
	inForce int
	fetched time.Time // when they were last installed
}

type heldKey struct {
	key   *Key
	since time.Time // when it came into force
	until time.Time // of a retired key: when it stops being accepted
}

// NewKeySet makes an empty set that accepts the alternatives of schema. After a change
// it accepts the previous keys for grace.
func NewKeySet(schema Schema, grace time.Duration) *KeySet {
	return &KeySet{schema: schema, grace: grace}
}

// Install replaces the keys in force, and returns which keys are new and which are no
// longer in force. Installing the same keys again only updates when they were seen. Of
// the replaced keys, the latest MaxKeys are accepted for the grace period. Without keys
// it does nothing.
func (s *KeySet) Install(installed []*Key, now time.Time) (came, left []*Key) {
	if len(installed) == 0 {
		return nil, nil
	}
	installed = installed[:min(len(installed), MaxKeys)]
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.current.Load()
	if old == nil {
		old = &keys{}
	}
	next := &keys{inForce: len(installed), fetched: now}
	for _, k := range installed {
		if i := old.index(k.fingerprint); i >= 0 && i < old.inForce {
			next.held = append(next.held, old.held[i]) // keeps the object, which proved may point to
		} else {
			next.held = append(next.held, heldKey{key: k, since: now})
			came = append(came, k)
		}
	}
	for i, h := range old.held {
		if next.index(h.key.fingerprint) >= 0 || len(next.held) == next.inForce+maxRetired {
			continue
		}
		if i < old.inForce {
			h.until = now.Add(s.grace)
			left = append(left, h.key)
		}
		next.held = append(next.held, h)
	}
	for _, h := range next.held {
		next.prints = append(next.prints, h.key.fingerprint)
	}
	s.current.Store(next)
	return came, left
}

func (k *keys) index(print Fingerprint) int {
	return slices.IndexFunc(k.held, func(h heldKey) bool { return h.key.fingerprint == print })
}

// accepted returns how many keys, from the first on, are accepted at now.
func (k *keys) accepted(now time.Time) int {
	if k == nil {
		return 0
	}
	n := len(k.held)
	for n > k.inForce && !now.Before(k.held[n-1].until) {
		n--
	}
	return n
}

// Accepted returns the fingerprints of the keys that are accepted at now, at most
// MaxAccepted, those in force first. The result must not be changed.
func (s *KeySet) Accepted(now time.Time) [][sha256.Size]byte {
	k := s.current.Load()
	if n := k.accepted(now); n > 0 {
		return k.prints[:n]
	}
	return nil
}

// A Proof says what verified.
type Proof struct {
	Key    Fingerprint
	Fields []Field // of the alternative, in order; must not be changed
}

// Signs reports whether f was signed.
func (p Proof) Signs(f Field) bool { return slices.Contains(p.Fields, f) }

// Verify finds the alternative and the spelling of the cost that the signature matches.
// An RSA key takes one public-key operation in all. The key that verified last is tried
// first, since only one key of a bundle may be in use for a long time. The algorithm is
// the key's: PKCS#1 v1.5 with SHA-256 (RFC 8017 section 8.2) or Ed25519 (RFC 8032).
// Errors: ErrNoKey, ErrBadSignature.
func (s *KeySet) Verify(m *Message, signature []byte, now time.Time) (Proof, error) {
	k := s.current.Load()
	n := k.accepted(now)
	if n == 0 {
		return Proof{}, ErrNoKey
	}
	if len(signature) == 0 {
		return Proof{}, ErrBadSignature
	}
	var buf [maxSpellings]string
	spellings := m.Cost.spellings(&buf)
	first := 0
	if n > 1 {
		proved := s.proved.Load()
		first = max(0, slices.IndexFunc(k.held[:n], func(h heldKey) bool { return h.key == proved }))
	}
	for i := -1; i < n; i++ {
		at := i
		switch i {
		case -1:
			at = first
		case first:
			continue
		}
		key := k.held[at].key
		if fields := key.match(m, s.schema.alternatives, spellings, signature); fields != nil {
			if n > 1 && s.proved.Load() != key {
				s.proved.Store(key)
			}
			return Proof{key.fingerprint, fields}, nil
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
	digest    []byte // RSA: the digest in the signature
}

// prepare does the work that is needed once per signature. It returns false if no
// message can match it.
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
	Keys    []KeyStatus // at most MaxAccepted, those in force first
	Fetched time.Time   // when they were last seen at their source; zero without a key
}

// KeyStatus is one key that is accepted.
type KeyStatus struct {
	Algorithm   string
	Fingerprint Fingerprint
	Since       time.Time // when it came into force
	Until       time.Time // when a retired key stops being accepted; zero: it is in force
}

// Status describes the keys at now.
func (s *KeySet) Status(now time.Time) Status {
	k := s.current.Load()
	if k == nil {
		return Status{}
	}
	st := Status{Fetched: k.fetched}
	for _, h := range k.held[:k.accepted(now)] {
		st.Keys = append(st.Keys, KeyStatus{h.key.algorithm, h.key.fingerprint, h.since, h.until})
	}
	return st
}
