// Package rsakey hands out RSA keys of 2048 bits to tests: making one takes longer
// than most tests do.
package rsakey

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	_ "embed"
	"encoding/pem"
	"strings"
	"sync"
	"testing"

	"github.com/usher-sidecar/usher/test/full"
)

// listed are the keys of a quick run. They say TESTING KEY so that no scanner takes them
// for leaked secrets.
//
//go:embed keys.pem
var listed []byte

var keys struct {
	sync.Mutex
	made  []*rsa.PrivateKey
	rest  []byte         // of listed
	taken map[string]int // keys that a test has, by its name
}

func init() {
	keys.taken = map[string]int{}
	if !full.Run() {
		keys.rest = listed
	}
}

// New returns a key that differs from those the same test already has; different tests
// share keys. A full run generates its keys, a quick one only when the list runs out.
func New(t testing.TB) *rsa.PrivateKey {
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
		key, err := next()
		if err != nil {
			t.Fatalf("no RSA key: %v", err)
		}
		keys.made = append(keys.made, key)
	}
	return keys.made[n]
}

// next takes a key from the list, or makes one.
func next() (*rsa.PrivateKey, error) {
	block, rest := pem.Decode(bytes.ReplaceAll(keys.rest, []byte("TESTING"), []byte("PRIVATE")))
	if block == nil {
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	keys.rest = rest
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	return key.(*rsa.PrivateKey), nil
}
