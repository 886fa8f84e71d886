package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

// The kinds of keys that certificates have, as in the names of their files.
const (
	rsa2048 = "rsa"
	p256    = "p256"
)

// readyCertificates makes a certificate of each kind: NAME.pem, NAME.key, and both
// in NAME.both.pem for HAProxy.
func (b *bench) readyCertificates() error {
	for _, name := range []string{rsa2048, p256} {
		if _, err := os.Stat(b.path(name + ".pem")); err == nil {
			continue
		}
		var key crypto.Signer
		var err error
		if name == rsa2048 {
			key, err = rsa.GenerateKey(rand.Reader, 2048)
		} else {
			key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		}
		if err != nil {
			return err
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			return err
		}
		pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return err
		}
		cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		private := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
		// Readable by nginx's workers, which run as another user if bench is root.
		if err := errors.Join(os.WriteFile(b.path(name+".pem"), cert, 0o644), os.WriteFile(b.path(name+".key"), private, 0o644),
			os.WriteFile(b.path(name+".both.pem"), append(cert, private...), 0o644)); err != nil {
			return err
		}
	}
	return nil
}

// secured reports whether a target speaks TLS itself.
func secured(t target) bool { return t.kind == nginx || t.kind == haproxy || t.kind == usher }

// tls measures what TLS adds: to handshakes of a client that connects anew each time,
// to requests, to streams and to silent streams.
func (b *bench) tls() error {
	if err := b.readyCertificates(); err != nil {
		return err
	}
	for _, step := range []func(target) error{b.handshakes, b.smallOverTLS, b.streamsOverTLS, b.memoryOverTLS} {
		err := b.eachRound("tls", b.rounds, func(t target) error {
			if !secured(t) {
				return nil
			}
			return step(t)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) handshakes(t target) error {
	for _, tt := range []struct {
		what           string
		key            string
		resume, hybrid bool
	}{
		{"a full handshake, RSA-2048", rsa2048, false, false},
		{"a full handshake, P-256", p256, false, false},
		{"a full handshake, P-256, X25519MLKEM768", p256, false, true},
		{"a resumed handshake", p256, true, false},
	} {
		if tt.hybrid && t.kind != usher { // OpenSSL has it from 3.5 on
			continue
		}
		r, cpu, err := b.measured("tls", t, options{key: tt.key}, spec{
			Handshakes: true, Count: b.scaled(1000), Secure: true, Resume: tt.resume, Hybrid: tt.hybrid,
		})
		if err != nil {
			return err
		}
		b.results.add("tls", t.name, "CPU µs of "+tt.what, 0, float64(cpu.Nanoseconds())/1000/float64(len(r.Latency)))
	}
	return nil
}

func (b *bench) smallOverTLS(t target) error {
	r, cpu, err := b.measured("tls", t, options{key: p256}, spec{
		Path: "/generate", Conns: 16, Warm: b.scaled(500), Count: b.scaled(20_000), Prompt: 1 << 10, Secure: true,
	})
	if err != nil {
		return err
	}
	b.results.add("tls", t.name, "1 KB prompt: CPU µs a request", 0, float64(cpu.Nanoseconds())/1000/float64(len(r.Latency)))
	b.addLatency("tls", t, "1 KB prompt: ", r.Latency, 0.5, 0.99)
	return nil
}

// streamsOverTLS measures the streams of the phase streams over TLS.
func (b *bench) streamsOverTLS(t target) error {
	s := b.streamSpec()
	s.Secure = true
	r, cpu, err := b.measured("tls", t, options{key: p256}, s)
	if err != nil {
		return err
	}
	n := float64(len(r.Delays))
	b.results.add("tls", t.name, "streams: CPU µs a token", 0, float64(cpu.Nanoseconds())/1000/n)
	b.addLatency("tls", t, "streams: delay a token ", r.Delays, 0.5, 0.99)
	b.results.add("tls", t.name, "streams: records a token", 0, float64(r.Records)/n)
	b.results.add("tls", t.name, "streams: bytes a token", 0, float64(r.Bytes)/n)
	return nil
}

func (b *bench) memoryOverTLS(t target) error {
	n := b.scaled(2000)
	kb, err := b.residentPerStream(t, n, options{key: p256})
	b.results.add("tls", t.name, fmt.Sprintf("resident KB a silent stream, %d streams", n), 0, kb)
	return err
}
