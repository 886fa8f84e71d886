package main

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/usher-sidecar/usher/test/autoscaler"
)

// What tickets are signed for.
const (
	endpoint  = "bench"
	workerURL = "http://203.0.113.7:41234"
	firstNum  = 1000
)

// tokenCount is the number of tokens for HAProxy, which accepts each any number of
// times.
const tokenCount = 500

// readyTickets makes the signed requests, or takes those of an earlier run: signing
// costs a hundred times what verifying does.
func (b *bench) readyTickets() error {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	kept := filepath.Join(cache, "usher-bench")
	b.tickets, b.key = filepath.Join(kept, "tickets"), filepath.Join(kept, "public.pem")
	count := b.scaled(ticketCount)
	if text, err := os.ReadFile(b.tickets); err == nil && bytes.Count(text, []byte("\n")) >= count-1 {
		return nil
	}
	b.progress("signing %d requests", count)
	if err := os.MkdirAll(kept, 0o755); err != nil {
		return err
	}
	return b.sign(count)
}

// sign writes a file of count signed requests. Each line has the ticket's JSON and,
// for HAProxy, a token with the same claims (RFC 7519), both signed with 2048-bit RSA
// and SHA-256. The public key is written beside the file.
func (b *bench) sign(count int) error {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	key, err := autoscaler.NewKey(private)
	if err != nil {
		return err
	}
	if err := os.WriteFile(b.key, []byte(key.PEM()), 0o644); err != nil {
		return err
	}
	tokens := make([]string, tokenCount)
	for i := range tokens {
		if tokens[i], err = signToken(private, i); err != nil {
			return err
		}
	}
	lines := make([]string, count)
	var workers sync.WaitGroup
	for w := range runtime.NumCPU() {
		workers.Go(func() {
			for i := w; i < len(lines); i += runtime.NumCPU() {
				ticket := key.Sign(autoscaler.Claims{Cost: "256.0", Endpoint: endpoint, Reqnum: int64(firstNum + i), URL: workerURL})
				lines[i] = ticket.JSON() + "\t" + tokens[i%len(tokens)]
			}
		})
	}
	workers.Wait()
	return os.WriteFile(b.tickets, []byte(strings.Join(lines, "\n")), 0o600)
}

// signToken makes a token with the claims of a ticket.
func signToken(private *rsa.PrivateKey, number int) (string, error) {
	encode := base64.RawURLEncoding.EncodeToString
	token := encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." +
		encode(fmt.Appendf(nil, `{"cost":256.0,"endpoint":%q,"reqnum":%d,"url":%q}`, endpoint, number, workerURL))
	sum := sha256.Sum256([]byte(token))
	signature, err := rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, sum[:])
	return token + "." + encode(signature), err
}
