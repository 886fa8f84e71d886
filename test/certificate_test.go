package test

import (
	"math"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A certificate that is replaced by rubbish twice is said twice, and how long the
// one in force is good for is a metric and stands on the status page.
func TestCertificateFaultsAndExpiry(t *testing.T) {
	t.Parallel()
	s, m := newSigner(t), newModel(t, nil)
	cert, key, _ := certificateFiles(t, t.TempDir()) // good for an hour
	u := start(t, settings(m, s).with(env{"USHER_TLS_CERT_FILE": cert, "USHER_TLS_KEY_FILE": key})).ready()
	u.waitLine("certificate expires soon")
	left := u.metric("usher_certificate_expiry_seconds")
	require.InDelta(t, time.Hour.Seconds(), left, patience.Seconds())
	good, err := os.ReadFile(cert)
	require.NoError(t, err)
	said := func(text string) (n int) {
		for _, line := range u.log() {
			n += strings.Count(line, text)
		}
		return n
	}
	for round := 1; round <= 2; round++ {
		require.NoError(t, os.WriteFile(cert, []byte("rubbish"), 0o600))
		u.signal(syscall.SIGHUP)
		require.Eventually(t, func() bool { return said("certificate not reloaded") >= round }, patience, 5*time.Millisecond)
		_, page := u.get("/status.json")
		require.Contains(t, page, "certificate not reloaded")
		before := said(`"certificate reloaded"`)
		require.NoError(t, os.WriteFile(cert, good, 0o600))
		u.signal(syscall.SIGHUP)
		require.Eventually(t, func() bool { return said(`"certificate reloaded"`) > before }, patience, 5*time.Millisecond)
	}
	require.Less(t, u.metric("usher_certificate_expiry_seconds"), left)
	require.True(t, math.IsInf(start(t, settings(m, s)).metric("usher_certificate_expiry_seconds"), 1), "no TLS")
}
