package rig

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rsakey"
)

// A Signer signs tickets as the autoscaler does. It builds the canonical message by
// itself, so that it shares no code with what is tested.
type Signer struct {
	rsa     *rsa.PrivateKey
	ed25519 ed25519.PrivateKey
	Next    atomic.Int64
}

// NewSigner returns a signer with an RSA key no other signer of the test has.
func NewSigner(t testing.TB) *Signer {
	t.Helper()
	return &Signer{rsa: rsakey.New(t)}
}

func NewEd25519Signer(t testing.TB) *Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return &Signer{ed25519: key}
}

// Public returns the public key as a PEM-encoded SubjectPublicKeyInfo.
func (s *Signer) Public() string {
	var der []byte
	var err error
	if s.rsa != nil {
		der, err = x509.MarshalPKIXPublicKey(&s.rsa.PublicKey)
	} else {
		der, err = x509.MarshalPKIXPublicKey(s.ed25519.Public())
	}
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func (s *Signer) Sign(message string) string {
	var signature []byte
	if s.rsa != nil {
		digest := sha256.Sum256([]byte(message))
		var err error
		if signature, err = rsa.SignPKCS1v15(nil, s.rsa, crypto.SHA256, digest[:]); err != nil {
			panic(err)
		}
	} else {
		signature = ed25519.Sign(s.ed25519, []byte(message))
	}
	return base64.StdEncoding.EncodeToString(signature)
}

// A Ticket holds the members as JSON literals.
type Ticket map[string]string

// The ticket's usual values in these tests.
const (
	Endpoint = "my-llama"
	URL      = "http://203.0.113.7:3000"
)

// Ticket makes the next ticket, with the next number, signed over the usual fields.
func (s *Signer) Ticket() Ticket { return s.Numbered(s.Next.Add(1)) }

func (s *Signer) Numbered(reqnum int64) Ticket {
	return s.Signed(Ticket{
		"cost": "256.0", "endpoint": Quote(Endpoint), "reqnum": fmt.Sprint(reqnum), "url": Quote(URL),
	}, "cost", "endpoint", "reqnum", "url")
}

// Signed adds the signature over the fields named, in that order.
func (s *Signer) Signed(t Ticket, fields ...string) Ticket {
	lines := make([]string, len(fields))
	for i, f := range fields {
		lines[i] = "    " + Quote(f) + ": " + t[f]
	}
	out := maps.Clone(t)
	out["signature"] = Quote(s.Sign("{\n" + strings.Join(lines, ",\n") + "\n}"))
	return out
}

func Quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// With returns the ticket with a member set to a literal; "" removes it.
func (t Ticket) With(member, literal string) Ticket {
	out := maps.Clone(t)
	if literal == "" {
		delete(out, member)
	} else {
		out[member] = literal
	}
	return out
}

func (t Ticket) Members() string {
	parts := make([]string, 0, len(t))
	for _, name := range slices.Sorted(maps.Keys(t)) {
		parts = append(parts, Quote(name)+":"+t[name])
	}
	return strings.Join(parts, ",")
}

// Flat returns a body with the ticket's members beside the model's own.
func (t Ticket) Flat(model string) []byte {
	if model != "" {
		model = "," + model
	}
	return []byte("{" + t.Members() + model + "}")
}

// Nested returns an envelope with the ticket and the model's body.
func (t Ticket) Nested(payload string) []byte {
	return []byte(`{"auth_data":{` + t.Members() + `},"payload":` + payload + `}`)
}

// Token returns the ticket as the Authorization field has it after the scheme.
func (t Ticket) Token() string {
	return base64.RawURLEncoding.EncodeToString([]byte("{" + t.Members() + "}"))
}
