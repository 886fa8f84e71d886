package crypto

import (
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"

	"filippo.io/edwards25519"
)

// Bounds of RSA keys: shorter ones can be factored, longer ones make verification
// too slow.
const (
	minRSABits = 2048
	maxRSABits = 16384
)

// A Fingerprint is the SHA-256 of a key's DER SubjectPublicKeyInfo, as in the
// pins of RFC 7469.
type Fingerprint [sha256.Size]byte

// String returns the fingerprint in hex.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// ParseFingerprint reads 64 hex digits, in any case, colons ignored.
func ParseFingerprint(text string) (Fingerprint, error) {
	var f Fingerprint
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(text), ":", ""))
	if err != nil || len(b) != len(f) {
		return f, fmt.Errorf("crypto: %q is not a SHA-256 in hex", text)
	}
	return Fingerprint(b), nil
}

// A Key is a public key that can verify. It is immutable and safe for
// concurrent use; make it with ParsePublicKeys.
type Key struct {
	fingerprint Fingerprint
	algorithm   string
	rsa         *rsaVerifier
	ed25519     ed25519.PublicKey
}

// Fingerprint identifies the key, in whatever form it was given.
func (k *Key) Fingerprint() Fingerprint { return k.fingerprint }

// Algorithm returns "RSA-2048" and the like, or "Ed25519".
func (k *Key) Algorithm() string { return k.algorithm }

func newRSAKey(public *rsa.PublicKey) (*Key, error) {
	bits := public.N.BitLen()
	switch {
	case bits < minRSABits:
		return nil, fmt.Errorf("%w: RSA key of %d bits, at least %d are required", ErrWeakKey, bits, minRSABits)
	case bits > maxRSABits:
		return nil, fmt.Errorf("%w: RSA key of %d bits, at most %d are supported", ErrKeyFormat, bits, maxRSABits)
	case public.N.Bit(0) == 0:
		return nil, fmt.Errorf("%w: its RSA modulus is even", ErrWeakKey)
	case public.E < 3 || public.E&1 == 0 || public.E > 1<<31-1:
		return nil, fmt.Errorf("%w: its RSA exponent is %d", ErrWeakKey, public.E)
	}
	v, err := newRSAVerifier(public)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyFormat, err)
	}
	return newKey(public, &Key{algorithm: fmt.Sprintf("RSA-%d", bits), rsa: v})
}

// newEd25519Key refuses values that are not on the curve, under which no signature
// would ever verify, and points of small order, for which anybody can sign.
func newEd25519Key(public ed25519.PublicKey) (*Key, error) {
	point, err := new(edwards25519.Point).SetBytes(public)
	if err != nil {
		return nil, fmt.Errorf("%w: not an Ed25519 point", ErrKeyFormat)
	}
	if new(edwards25519.Point).MultByCofactor(point).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return nil, fmt.Errorf("%w: its Ed25519 point is of small order", ErrWeakKey)
	}
	return newKey(public, &Key{algorithm: "Ed25519", ed25519: public})
}

func newKey(public any, k *Key) (*Key, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyFormat, err)
	}
	k.fingerprint = sha256.Sum256(der)
	return k, nil
}
