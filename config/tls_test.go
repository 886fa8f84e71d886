package config

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rsakey"
)

// rsaPair makes a certificate with an RSA key.
func rsaPair(t *testing.T) (cert, key string) {
	t.Helper()
	private := rsakey.New(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)}), 0o600))
	return cert, key
}

// Two pairs must be an ECDSA and an RSA one, each certificate with its key. Anything
// else is a fault, and so are client CA certificates without TLS.
func TestTLSPairs(t *testing.T) {
	ec, ecKey := certificatePair(t)
	ec2, ec2Key := certificatePair(t)
	rsa, rsaKey := rsaPair(t)
	empty := filepath.Join(t.TempDir(), "empty.pem")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	const both = "USHER_TLS_CERT_FILE, USHER_TLS_KEY_FILE: "
	for name, tt := range map[string]struct{ cert, key, ca, timeout, fault string }{
		"none":           {},
		"one":            {cert: ec, key: ecKey},
		"one, RSA":       {cert: rsa, key: rsaKey},
		"two":            {cert: ec + "," + rsa, key: ecKey + ", " + rsaKey},
		"two, RSA first": {cert: rsa + "," + ec, key: rsaKey + "," + ecKey},
		"crossed":        {cert: ec + "," + rsa, key: rsaKey + "," + ecKey, fault: both + "tls: private key type does not match public key type"},
		"both ECDSA":     {cert: ec + "," + ec2, key: ecKey + "," + ec2Key, fault: both + "two pairs must be an ECDSA and an RSA one"},
		"the same twice": {cert: rsa + "," + rsa, key: rsaKey + "," + rsaKey, fault: both + "two pairs must be an ECDSA and an RSA one"},
		"a key short":    {cert: ec + "," + rsa, key: ecKey, fault: both + "name 2 and 1 files: each certificate has its key, in the same order"},
		"three":          {cert: ec + "," + rsa + "," + ec2, key: ecKey + "," + rsaKey + "," + ec2Key, fault: both + "there can be two pairs at most"},
		"second missing": {cert: ec + ",/nowhere.pem", key: ecKey + "," + rsaKey, fault: "USHER_TLS_CERT_FILE: cannot be read: open /nowhere.pem"},
		"authorities":    {cert: ec, key: ecKey, ca: rsa},
		"without TLS":    {ca: rsa, fault: "USHER_TLS_CLIENT_CA_FILE: needs USHER_TLS_CERT_FILE"},
		"no authority":   {cert: ec, key: ecKey, ca: empty, fault: "USHER_TLS_CLIENT_CA_FILE: " + empty + " holds no certificate in PEM"},
		"a key":          {cert: ec, key: ecKey, ca: rsaKey, fault: "block 1 is a RSA PRIVATE KEY, not a CERTIFICATE"},
		"not there":      {cert: ec, key: ecKey, ca: "/nowhere.pem", fault: "USHER_TLS_CLIENT_CA_FILE: cannot be read: open /nowhere.pem"},
		"no time":        {timeout: "0s", fault: "USHER_HANDSHAKE_TIMEOUT: 0s is too short"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Load(append(base(publicKey(t)), "USHER_TLS_CERT_FILE="+tt.cert, "USHER_TLS_KEY_FILE="+tt.key,
				"USHER_TLS_CLIENT_CA_FILE="+tt.ca, "USHER_HANDSHAKE_TIMEOUT="+tt.timeout))
			if tt.fault != "" {
				require.ErrorContains(t, err, tt.fault)
				var faults Faults
				require.ErrorAs(t, err, &faults)
				require.Len(t, faults, 1)
				return
			}
			require.NoError(t, err)
			require.Equal(t, 10*time.Second, c.TLS.HandshakeTimeout)
			require.Len(t, c.TLS.Pairs, len(list(tt.cert)))
			require.Equal(t, tt.ca, c.TLS.ClientCAFile)
		})
	}
}
