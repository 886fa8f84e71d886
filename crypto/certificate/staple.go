package certificate

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ocsp"
)

// Errors of OCSP responses.
var (
	ErrNoIssuer  = errors.New("the certificate file does not hold the issuer's certificate, without which the response cannot be checked")
	ErrNotGood   = errors.New("the response does not say that the certificate is good")
	ErrNotInTime = errors.New("the response is not in force now")
)

// checkStaple checks an OCSP response (RFC 6960, DER) as clients will: it must be
// signed, for this certificate, say that it is good, and be current.
func checkStaple(c *tls.Certificate, response []byte, now time.Time) error {
	issuer, err := issuerOf(c)
	if err != nil {
		return err
	}
	r, err := ocsp.ParseResponseForCert(response, c.Leaf, issuer)
	switch {
	case err != nil:
		return fmt.Errorf("not an OCSP response in DER for this certificate: %w", err)
	case r.Status != ocsp.Good:
		return ErrNotGood
	case now.Before(r.ThisUpdate), !r.NextUpdate.IsZero() && now.After(r.NextUpdate):
		return fmt.Errorf("%w: from %s to %s", ErrNotInTime, r.ThisUpdate.Format(time.RFC3339), r.NextUpdate.Format(time.RFC3339))
	}
	return nil
}

// issuerOf returns the issuer of the certificate: the next one of the chain, or
// itself.
func issuerOf(c *tls.Certificate) (*x509.Certificate, error) {
	if len(c.Certificate) > 1 {
		return x509.ParseCertificate(c.Certificate[1])
	}
	if c.Leaf.CheckSignatureFrom(c.Leaf) == nil {
		return c.Leaf, nil
	}
	return nil, ErrNoIssuer
}
