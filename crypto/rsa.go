package crypto

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"

	"github.com/usher-sidecar/usher/crypto/modexp"
)

// An rsaVerifier recovers the encoded message from an RSA signature. It prepares the
// modulus once; crypto/rsa does so at every call, which makes it a third slower.
//
// All values here are public, so the running time may depend on them.
type rsaVerifier struct {
	modulus  *modexp.Modulus
	exponent uint
}

func newRSAVerifier(public *rsa.PublicKey) (*rsaVerifier, error) {
	m, err := modexp.New(public.N)
	if err != nil {
		return nil, err
	}
	return &rsaVerifier{modulus: m, exponent: uint(public.E)}, nil
}

// recover is RSAVP1 of RFC 8017 section 5.2.2: the encoded message that the
// signature stands for, as long as the modulus. It is false for a signature of
// the wrong length or not below the modulus.
func (v *rsaVerifier) recover(signature []byte) (encoded []byte, ok bool) {
	return v.modulus.Exp(signature, v.exponent)
}

// sha256Prefix is the DER DigestInfo of SHA-256 up to the digest, parameters
// NULL included (RFC 8017 section 9.2 note 1).
var sha256Prefix = []byte{
	0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20,
}

// recoveredDigest checks that encoded is what EMSA-PKCS1-v1_5 makes of some SHA-256
// digest, byte by byte, and returns that digest. Nothing is parsed: every byte
// outside the digest has one right value, so this is the comparison of RFC 8017
// section 8.2.2 step 4 for every digest at once. Several candidate messages cost
// one exponentiation and one hash each.
func recoveredDigest(encoded []byte) (digest []byte, ok bool) {
	fixed := len(encoded) - sha256.Size
	padding := fixed - len(sha256Prefix)
	if padding < 11 || encoded[0] != 0 || encoded[1] != 1 || encoded[padding-1] != 0 {
		return nil, false
	}
	for _, b := range encoded[2 : padding-1] {
		if b != 0xff {
			return nil, false
		}
	}
	if !bytes.Equal(encoded[padding:fixed], sha256Prefix) {
		return nil, false
	}
	return encoded[fixed:], true
}
