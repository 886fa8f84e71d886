package crypto

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/usher-sidecar/usher/test/rsakey"
)

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func pkix(t testing.TB, public any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	return block("PUBLIC KEY", der)
}

func openSSH(t testing.TB, public any) string {
	t.Helper()
	key, err := ssh.NewPublicKey(public)
	require.NoError(t, err)
	return string(ssh.MarshalAuthorizedKey(key))
}

// parseOne reads a text that contains one key.
func parseOne(text string) (*Key, error) {
	keys, err := ParsePublicKeys([]byte(text))
	if err == nil && len(keys) != 1 {
		err = fmt.Errorf("%d keys", len(keys))
	}
	if err != nil {
		return nil, err
	}
	return keys[0], nil
}

// A key has the same fingerprint in every form.
func TestKeyForms(t *testing.T) {
	r := rsakey.New(t)
	e, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	for algorithm, forms := range map[string][]string{
		"RSA-2048": {
			pkix(t, &r.PublicKey), block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&r.PublicKey)), openSSH(t, &r.PublicKey),
			"\n\n  " + pkix(t, &r.PublicKey) + " \n", strings.ReplaceAll(pkix(t, &r.PublicKey), "\n", "\r\n"),
		},
		"Ed25519": {pkix(t, e), openSSH(t, e), strings.TrimSpace(openSSH(t, e)) + " comment of somebody"},
	} {
		first, err := parseOne(forms[0])
		require.NoError(t, err)
		require.Equal(t, algorithm, first.Algorithm())
		for _, form := range forms {
			k, err := parseOne(form)
			require.NoError(t, err, form)
			require.Equal(t, first.Fingerprint(), k.Fingerprint())
		}
		parsed, err := ParseFingerprint(strings.ToUpper(first.Fingerprint().String()))
		require.NoError(t, err)
		require.Equal(t, first.Fingerprint(), parsed)
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	r := rsakey.New(t)
	good := pkix(t, &r.PublicKey)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(r)
	require.NoError(t, err)
	weak := func(n *big.Int, e int) string { return pkix(t, &rsa.PublicKey{N: n, E: e}) }
	short := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 1024), big.NewInt(105))
	long := new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 17000), big.NewInt(1))
	for name, tt := range map[string]struct {
		text string
		err  error
	}{
		"empty":         {"", ErrKeyFormat},
		"text":          {"hello", ErrKeyFormat},
		"HTML":          {"<html>" + good, ErrKeyFormat},
		"cut":           {good[:len(good)/2], ErrKeyFormat},
		"ECDSA":         {pkix(t, curve.Public()), ErrKeyFormat},
		"ECDSA OpenSSH": {openSSH(t, curve.Public()), ErrKeyFormat},
		"private":       {block("PRIVATE KEY", private), ErrPrivateKey},
		"private RSA":   {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(r)), ErrPrivateKey},
		"certificate":   {block("CERTIFICATE", []byte{0x30, 0}), ErrKeyFormat},
		"not DER":       {block("PUBLIC KEY", []byte("x")), ErrKeyFormat},
		"OpenSSH cut":   {"ssh-rsa AAAA", ErrKeyFormat},
		"1024 bits":     {weak(short, 65537), ErrWeakKey},
		"exponent 1":    {weak(r.N, 1), ErrWeakKey},
		"even modulus":  {weak(new(big.Int).Lsh(r.N, 1), 65537), ErrWeakKey},
		"17001 bits":    {weak(long, 65537), ErrKeyFormat},
	} {
		_, err := parseOne(tt.text)
		require.Error(t, err, name)
		if tt.err == ErrWeakKey && strings.Contains(err.Error(), ErrKeyFormat.Error()) {
			continue // the standard library refused it already
		}
		require.ErrorIs(t, err, tt.err, name)
	}
	// The points of small order: with the identity, one signature matches every
	// message.
	for _, point := range []string{
		"0100000000000000000000000000000000000000000000000000000000000000", "0000000000000000000000000000000000000000000000000000000000000000",
		"0000000000000000000000000000000000000000000000000000000000000080", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		small, err := hex.DecodeString(point)
		require.NoError(t, err)
		for _, text := range []string{pkix(t, ed25519.PublicKey(small)), openSSH(t, ed25519.PublicKey(small))} {
			_, err = parseOne(text)
			require.ErrorIs(t, err, ErrWeakKey, point)
		}
	}
	none := ed25519.PublicKey(append([]byte{2}, make([]byte, 31)...))
	_, err = parseOne(pkix(t, none))
	require.ErrorIs(t, err, ErrKeyFormat, "no point of the curve")

	_, err = parseOne(block("PRIVATE KEY", private))
	require.ErrorContains(t, err, "private key")
	for _, wrong := range []string{"", "00", strings.Repeat("g", 64), strings.Repeat("0", 66)} {
		_, err := ParseFingerprint(wrong)
		require.Error(t, err)
	}
}
