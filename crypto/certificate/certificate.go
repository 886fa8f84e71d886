// Package certificate reads and follows the files of TLS: pairs of certificate and
// key, OCSP responses, and the authorities of clients. It knows neither HTTP nor
// the settings.
package certificate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
)

// MaxPairs is how many pairs there can be: one of each kind of key.
const MaxPairs = 2

// Errors of pairs that cannot be used together.
var (
	ErrKinds = errors.New("two pairs must be an ECDSA and an RSA one, so that a client can be shown what it asks for")
	ErrMany  = errors.New("there can be two pairs at most, an ECDSA and an RSA one")
)

// Files name a certificate chain and its private key, both in PEM. An OCSP response
// in DER is looked for beside the former, under its name and ".ocsp".
type Files struct{ Cert, Key string }

// Staple returns the name of the OCSP response's file.
func (f Files) Staple() string { return f.Cert + ".ocsp" }

// A Kind is the kind of a certificate's key.
type Kind int

// The kinds of keys.
const (
	Other Kind = iota // Ed25519, which few clients take
	ECDSA
	RSA
)

// KindOf returns the kind of a certificate's key.
func KindOf(c *tls.Certificate) Kind {
	switch c.PrivateKey.(type) {
	case *ecdsa.PrivateKey:
		return ECDSA
	case *rsa.PrivateKey:
		return RSA
	}
	return Other
}

// KeyName returns the key's type as operators know it: "ECDSA P-256", "RSA 2048".
func KeyName(c *tls.Certificate) string {
	signer, ok := c.PrivateKey.(crypto.Signer)
	if !ok {
		return "unknown"
	}
	switch key := signer.Public().(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Curve.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", key.N.BitLen())
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return "unknown"
}

// Parse reads a pair. Errors: those of tls.X509KeyPair.
func Parse(cert, key []byte) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	return &pair, nil
}

// Together checks that pairs can be used side by side. Errors: ErrMany, ErrKinds.
func Together(pairs []*tls.Certificate) error {
	switch len(pairs) {
	case 0, 1:
		return nil
	case MaxPairs:
		kinds := []Kind{KindOf(pairs[0]), KindOf(pairs[1])}
		if slices.Contains(kinds, ECDSA) && slices.Contains(kinds, RSA) {
			return nil
		}
		return ErrKinds
	}
	return ErrMany
}

// choose returns the pair for a client: ECDSA, whose handshake costs a third of
// RSA's, unless the client supports only RSA. The name it asks for does not matter,
// because workers are called by address.
func choose(hello *tls.ClientHelloInfo, pairs []*tls.Certificate) *tls.Certificate {
	if len(pairs) == 1 {
		return pairs[0]
	}
	unnamed := *hello
	unnamed.ServerName = ""
	for _, cheap := range []bool{true, false} {
		for _, pair := range pairs {
			if (KindOf(pair) == ECDSA) == cheap && unnamed.SupportsCertificate(pair) == nil {
				return pair
			}
		}
	}
	return pairs[0] // the handshake says what is wrong
}
