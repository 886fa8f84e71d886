package autoscaler

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
)

// Claims are the claims of a ticket.
type Claims struct {
	Cost       string // the JSON number that is signed and sent, see Float and Int
	Endpoint   string
	Reqnum     int64  // negative: the ticket has none
	RequestIdx string // an integer; empty: the ticket has none
	URL        string

	// Fields are the signed fields, in the order of the message; nil: all that the
	// ticket has, sorted.
	Fields []string
}

// A Ticket is signed claims. To tamper with a ticket, change its claims: the signature
// stays that of the original ones.
type Ticket struct {
	Claims
	Signature string // base64
}

// JSON returns the ticket as the autoscaler sends it, as one JSON object.
func (t Ticket) JSON() string {
	return object(append(t.members(), member{"signature", quote(t.Signature)}))
}

// Flat returns a request body with the ticket's members beside the model's own, which
// are given without braces: "inputs": "x", ….
func (t Ticket) Flat(members string) string {
	ticket := t.JSON()
	if members == "" {
		return ticket
	}
	return ticket[:len(ticket)-1] + ", " + members + "}"
}

// Nested returns a request body with the ticket under auth_data and payload, a JSON
// object, under payload.
func (t Ticket) Nested(payload string) string {
	return object([]member{{"auth_data", t.JSON()}, {"payload", payload}})
}

// A Key is a key pair that signs tickets. It is immutable.
type Key struct {
	private crypto.Signer
	pem     string
}

// NewRSAKey makes an RSA key of 2048 bits.
func NewRSAKey() (*Key, error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	return NewKey(private)
}

// NewEd25519Key makes an Ed25519 key.
func NewEd25519Key() (*Key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return NewKey(private)
}

// NewKey makes a Key from an *rsa.PrivateKey of any size or an ed25519.PrivateKey.
func NewKey(private crypto.Signer) (*Key, error) {
	switch private.(type) {
	case *rsa.PrivateKey, ed25519.PrivateKey:
	default:
		return nil, fmt.Errorf("autoscaler: a %T signs no tickets", private)
	}
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return &Key{private: private, pem: string(text)}, nil
}

// PEM returns the public half in PEM, as served at /pubkey/.
func (k *Key) PEM() string { return k.pem }

// Sign makes a ticket.
func (k *Key) Sign(c Claims) Ticket {
	return Ticket{Claims: c, Signature: base64.StdEncoding.EncodeToString(k.signature(c.Message()))}
}

// signature signs with RSASSA-PKCS1-v1_5 and SHA-256 (RFC 8017 section 8.2), or
// with Ed25519 (RFC 8032).
func (k *Key) signature(message string) []byte {
	digest, hash := []byte(message), crypto.Hash(0)
	if _, ok := k.private.(*rsa.PrivateKey); ok {
		sum := sha256.Sum256(digest)
		digest, hash = sum[:], crypto.SHA256
	}
	s, err := k.private.Sign(rand.Reader, digest, hash)
	if err != nil {
		panic(fmt.Sprintf("autoscaler: %v", err)) // only an RSA key too small for the digest fails
	}
	return s
}
