package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPrefixOf(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.0/8": "10.0.0.0/8", "10.1.2.3/8": "10.0.0.0/8", "192.0.2.7": "192.0.2.7/32", "2001:db8::/32": "2001:db8::/32",
		"::ffff:198.51.100.0/120": "198.51.100.0/24", "::ffff:192.0.2.7": "192.0.2.7/32", "fe80::1%eth0": "fe80::1/128", "0.0.0.0/0": "0.0.0.0/0",
		"": "", "x": "", "10.0.0.0/33": "", "10.0.0/8": "", "example.com": "", "10.0.0.1:80": "", "::ffff:10.0.0.0/90": "",
	} {
		prefix, err := prefixOf(text)
		require.Equal(t, want == "", err != nil, text)
		if err == nil {
			require.Equal(t, want, prefix.String())
		}
	}
}
