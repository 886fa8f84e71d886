package certificate

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// ErrNoAuthority is a file of authorities without a certificate in it.
var ErrNoAuthority = errors.New("holds no certificate in PEM")

// ParseAuthorities reads certificates in PEM, one after another. Other blocks and
// malformed certificates are errors, because an authority that is silently left out
// would lock its clients out.
func ParseAuthorities(text []byte) (*x509.CertPool, error) {
	pool, n := x509.NewCertPool(), 0
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			if bytes.Contains(rest, []byte("-----BEGIN ")) {
				return nil, errors.New("holds a PEM block that does not end")
			}
			break
		}
		if n++; block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("block %d is a %s, not a CERTIFICATE", n, block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", n, err)
		}
		pool.AddCert(cert)
		text = rest
	}
	if n == 0 {
		return nil, ErrNoAuthority
	}
	return pool, nil
}
