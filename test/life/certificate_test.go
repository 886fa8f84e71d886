package life

import (
	"math"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/rig"
)

// Each time a certificate is replaced by rubbish the log says so. How long the current
// one is valid is a metric and on the status page.
func TestCertificateFaultsAndExpiry(t *testing.T) {
	t.Parallel()
	s, m := rig.NewSigner(t), rig.NewModel(t, nil)
	cert, key, _ := rig.CertificateFiles(t, t.TempDir()) // good for an hour
	u := rig.Start(t, rig.Settings(m, s).With(rig.Env{"USHER_TLS_CERT_FILE": cert, "USHER_TLS_KEY_FILE": key})).Ready()
	u.WaitLine("certificate expires soon")
	left := u.Metric("usher_certificate_expiry_seconds")
	require.InDelta(t, time.Hour.Seconds(), left, rig.Patience.Seconds())
	good, err := os.ReadFile(cert)
	require.NoError(t, err)
	said := func(text string) (n int) {
		for _, line := range u.Log() {
			n += strings.Count(line, text)
		}
		return n
	}
	for range 2 {
		faults := said("certificate not reloaded")
		require.NoError(t, os.WriteFile(cert, []byte("rubbish"), 0o600))
		u.Signal(syscall.SIGHUP)
		require.Eventually(t, func() bool { return said("certificate not reloaded") > faults }, rig.Patience, 5*time.Millisecond)
		_, page := u.Get("/status.json")
		require.Contains(t, page, "certificate not reloaded")
		before := said(`"certificate reloaded"`)
		require.NoError(t, os.WriteFile(cert, good, 0o600))
		u.Signal(syscall.SIGHUP)
		require.Eventually(t, func() bool { return said(`"certificate reloaded"`) > before }, rig.Patience, 5*time.Millisecond)
	}
	require.Less(t, u.Metric("usher_certificate_expiry_seconds"), left)
	require.True(t, math.IsInf(rig.Start(t, rig.Settings(m, s)).Metric("usher_certificate_expiry_seconds"), 1), "no TLS")
}
