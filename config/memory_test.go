package config

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Defaults are lowered to fit the memory limit; values that are set are kept.
func TestMemory(t *testing.T) {
	cert, key := certificatePair(t)
	for name, tt := range map[string]struct {
		memory        int64
		set           []string
		queue, bodies int64
		body          int
		connections   int
		warnings      []string // how they begin
	}{
		"not known":         {0, nil, 256 << 20, 0, 16 << 20, 16384, nil},
		"a small container": {128 << 20, nil, 32 << 20, 48 << 20, 16 << 20, 2048, nil},
		"a large one":       {8 << 30, nil, 256 << 20, 3 << 30, 16 << 20, 16384, nil},
		"a tiny one":        {32 << 20, nil, 8 << 20, 12 << 20, 6 << 20, 512, nil},
		"a small one, with TLS": {128 << 20, []string{"USHER_TLS_CERT_FILE=" + cert, "USHER_TLS_KEY_FILE=" + key},
			32 << 20, 48 << 20, 16 << 20, 1024, nil},
		"next to nothing": {1000, nil, 250, 375, 187, 1, nil},
		"a small one, and the operator's word": {128 << 20, []string{"USHER_QUEUE_BYTES=64MiB", "USHER_MAX_CONNECTIONS=5000", "USHER_MAX_BODY_BYTES=32MiB"},
			64 << 20, 48 << 20, 32 << 20, 5000, []string{"USHER_MAX_BODY_BYTES is more than", "USHER_QUEUE_BYTES is more than"}},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := LoadWithin(append(base(publicKey(t)), tt.set...), tt.memory)
			require.NoError(t, err)
			require.Equal(t, tt.queue, c.QueueBytes)
			require.Equal(t, tt.bodies, c.BodiesBytes)
			require.Equal(t, tt.body, c.MaxBodyBytes)
			require.Equal(t, tt.connections, c.MaxConnections)
			require.Len(t, c.Warnings, len(tt.warnings))
			for i, warning := range tt.warnings {
				require.True(t, strings.HasPrefix(c.Warnings[i], warning), c.Warnings[i])
			}
		})
	}
}
