package test

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
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// A signer is the autoscaler's half of the trust: it signs the canonical
// message, written out here by hand so that it shares nothing with the code
// under test.
type signer struct {
	rsa     *rsa.PrivateKey
	ed25519 ed25519.PrivateKey
	next    atomic.Int64
}

// newSigner has a key of its own among the signers of a test. Tests share keys,
// which take longer to make than many a test to run.
func newSigner(t testing.TB) *signer {
	t.Helper()
	test, _, _ := strings.Cut(t.Name(), "/")
	keys.Lock()
	defer keys.Unlock()
	n := keys.taken[test]
	keys.taken[test]++
	t.Cleanup(func() {
		keys.Lock()
		defer keys.Unlock()
		keys.taken[test]--
	})
	if n == len(keys.made) {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		require.NoError(t, err)
		keys.made = append(keys.made, key)
	}
	return &signer{rsa: keys.made[n]}
}

var keys = struct {
	sync.Mutex
	made  []*rsa.PrivateKey
	taken map[string]int // by name of the test
}{taken: map[string]int{}}

func newEd25519Signer(t testing.TB) *signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return &signer{ed25519: key}
}

// public is the key as PEM SubjectPublicKeyInfo.
func (s *signer) public() string {
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

func (s *signer) sign(message string) string {
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

// A ticket holds the members as JSON literals.
type ticket map[string]string

// The ticket's usual values in these tests.
const (
	testEndpoint = "my-llama"
	testURL      = "http://203.0.113.7:3000"
)

// ticket makes the next one: distinct, in order, signed over the usual fields.
func (s *signer) ticket() ticket { return s.numbered(s.next.Add(1)) }

func (s *signer) numbered(reqnum int64) ticket {
	return s.signed(ticket{
		"cost": "256.0", "endpoint": quote(testEndpoint), "reqnum": fmt.Sprint(reqnum), "url": quote(testURL),
	}, "cost", "endpoint", "reqnum", "url")
}

// signed adds the signature over the fields named, in that order.
func (s *signer) signed(t ticket, fields ...string) ticket {
	lines := make([]string, len(fields))
	for i, f := range fields {
		lines[i] = "    " + quote(f) + ": " + t[f]
	}
	out := maps.Clone(t)
	out["signature"] = quote(s.sign("{\n" + strings.Join(lines, ",\n") + "\n}"))
	return out
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// with returns the ticket with a member set to a literal; "" removes it.
func (t ticket) with(member, literal string) ticket {
	out := maps.Clone(t)
	if literal == "" {
		delete(out, member)
	} else {
		out[member] = literal
	}
	return out
}

func (t ticket) members() string {
	parts := make([]string, 0, len(t))
	for _, name := range slices.Sorted(maps.Keys(t)) {
		parts = append(parts, quote(name)+":"+t[name])
	}
	return strings.Join(parts, ",")
}

// flat puts the ticket beside the model's members.
func (t ticket) flat(model string) []byte {
	if model != "" {
		model = "," + model
	}
	return []byte("{" + t.members() + model + "}")
}

// nested puts the ticket into an envelope around the model's body.
func (t ticket) nested(payload string) []byte {
	return []byte(`{"auth_data":{` + t.members() + `},"payload":` + payload + `}`)
}

// token is the ticket as it stands in the head, behind its scheme.
func (t ticket) token() string {
	return base64.RawURLEncoding.EncodeToString([]byte("{" + t.members() + "}"))
}
