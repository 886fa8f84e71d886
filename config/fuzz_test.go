package config

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

// FuzzLoad sets any two variables: nothing panics, a fault names one of them, and
// accepted values are within their ranges.
func FuzzLoad(f *testing.F) {
	key := publicKey(f)
	for _, s := range Settings() {
		f.Add(s.Name, "1", "USE_SSL", "no")
		f.Add(s.Name, "auto,/x|y", "WORKER_PORT", "8080")
		f.Add(s.Name, "http://h:1/,unix:/x", "USHER_LISTEN_ADDR", "[::1]:0")
	}
	f.Add("USHER_ENDPOINT", `a\,b, c`, "USHER_WORKER_URL", "http://[::1]:3000,HTTPS://x/y/")
	f.Add("USHER_REORDER_HOLD", "1s", "USHER_REORDER_MAX_HOLD", "2s")
	f.Fuzz(func(t *testing.T, name, value, other, text string) {
		for _, n := range []string{name, other} {
			if strings.HasSuffix(n, "_FILE") || strings.ContainsAny(n, "=\x00") {
				return // reads files of this machine
			}
		}
		c, err := Load(append(base(key), name+"="+value, other+"="+text))
		if err != nil {
			var faults Faults
			require.True(t, errors.As(err, &faults))
			require.NotEmpty(t, faults)
			for i, fault := range faults {
				require.NotEmpty(t, fault.Variable)
				require.NotEmpty(t, fault.Problem)
				require.NotContains(t, faults[:i], fault, "said twice")
			}
			return
		}
		require.NotEmpty(t, c.Endpoints)
		for _, e := range c.Endpoints {
			require.Equal(t, strings.TrimFunc(e, unicode.IsSpace), e)
			require.NotEmpty(t, e)
		}
		require.NotEmpty(t, c.Routes)
		require.LessOrEqual(t, c.ReorderHold, c.ReorderMaxHold)
		require.Positive(t, c.QueueTimeout)
		require.Positive(t, c.MaxBodyBytes)
		require.Positive(t, c.ReplayWindow)
		for _, r := range c.Routes {
			require.True(t, strings.HasPrefix(r.Path, "/"))
		}
		require.NotEmpty(t, c.SignedFields.Alternatives())
		for _, fields := range c.SignedFields.Alternatives() {
			require.NotEmpty(t, fields)
			require.Len(t, slices.Compact(slices.Sorted(slices.Values(fields))), len(fields))
		}
		require.Equal(t, 1, count(c.PublicKey != "", c.PublicKeyFile != "", len(c.PublicKeyURLs) > 0), "sources of the key")
		require.LessOrEqual(t, len(c.TLS.Pairs), 2)
		require.Positive(t, c.TLS.HandshakeTimeout)
	})
}

func count(facts ...bool) (n int) {
	for _, fact := range facts {
		if fact {
			n++
		}
	}
	return n
}
