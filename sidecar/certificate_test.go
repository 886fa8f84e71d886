package sidecar

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/usher-sidecar/usher/config"
	"github.com/usher-sidecar/usher/crypto/certificate"
)

// pair makes a certificate that is valid until end, and its key.
func pair(t *testing.T, end time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

// Each new failure of a reload is logged, even if the same one was logged before; a
// failure that persists is logged once, or on request.
func TestCertificateReloadsAreSaid(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	write := func(path, text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
	soon, later := time.Now().Add(time.Hour).Truncate(time.Second), time.Now().Add(1000*time.Hour).Truncate(time.Second)
	cert, key := pair(t, soon)
	otherCert, otherKey := pair(t, later)
	write(certFile, cert)
	write(keyFile, key)
	core, seen := observer.New(zap.DebugLevel)
	c, err := openCertificates(config.TLS{Pairs: []certificate.Files{{Cert: certFile, Key: keyFile}}}, zap.New(core))
	require.NoError(t, err)
	lines := seen.TakeAll()
	require.Equal(t, "certificate in force", lines[0].Message)
	require.Equal(t, "ECDSA P-256", lines[0].ContextMap()["key"])
	require.Equal(t, "certificate expires soon, or has expired", lines[1].Message)
	require.Len(t, c.warnings(), 1)

	const failed, reloaded = "certificate not reloaded; the last good one stays in force", "certificate reloaded"
	for i, step := range []struct {
		do   func()
		said string
		end  time.Time
	}{
		{func() {}, "", soon},
		{func() { write(certFile, "rubbish") }, failed, soon},
		{func() {}, "", soon},
		{func() { write(certFile, "other rubbish") }, failed, soon},
		{func() { write(certFile, cert) }, reloaded, soon},
		{func() { write(certFile, "other rubbish") }, failed, soon},
		{func() { write(certFile, cert) }, reloaded, soon},
		{func() { require.NoError(t, os.Remove(keyFile)) }, failed, soon},
		{func() {}, "", soon},
		{func() { write(keyFile, key) }, "", soon},
		{func() { require.NoError(t, os.Remove(keyFile)) }, failed, soon},
		{func() { write(keyFile, otherKey) }, failed, soon},
		{func() { write(certFile, otherCert) }, reloaded, later},
		{func() { write(certFile, cert) }, failed, later},
		{func() { require.NoError(t, os.Remove(certFile)) }, failed, later},
		{func() { write(certFile, cert) }, failed, later},
	} {
		step.do()
		c.reload(false)
		var said string
		for _, e := range seen.TakeAll() {
			require.Empty(t, said, "step %d: said twice", i)
			said = e.Message
			require.True(t, said == failed || e.ContextMap()["expires"].(time.Time).Equal(step.end))
		}
		require.Equal(t, step.said, said, "step %d", i)
		require.True(t, step.end.Equal(c.Expiry()), "step %d", i)
	}
	c.reload(true)
	require.Equal(t, failed, seen.TakeAll()[0].Message, "somebody asked")
	require.Len(t, c.warnings(), 1, "of the fault; it does not expire soon any more")
	require.Contains(t, c.warnings()[0], failed)
}
