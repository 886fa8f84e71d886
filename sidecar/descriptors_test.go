package sidecar

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestConnectionsFitTheDescriptors(t *testing.T) {
	for _, tt := range []struct {
		descriptors   uint64
		wanted, slots int
		others        int
		connections   int
	}{
		{1 << 20, 16384, 128, 0, 16384},
		{math.MaxUint64, 16384, 128, 0, 16384},
		{1024, 16384, 128, 0, 1024 - descriptorsKept - 128},
		{1024, 16384, 0, 0, (1024 - descriptorsKept) / 2},
		{1024, 100, 128, 0, 100},
		{64, 16384, 128, 0, (64 - descriptorsKept) / 2},
		{64, 16384, 4, 0, 64 - descriptorsKept - 4},
		{16, 16384, 128, 0, 1},
		{1024, 16384, 128, 40, 1024 - descriptorsKept - 128 - 40},
	} {
		got, warning := limitConnections(tt.descriptors, tt.wanted, tt.slots, tt.others)
		require.Equal(t, tt.connections, got, "%+v", tt)
		require.Equal(t, got < tt.wanted, warning != "", "%+v", tt)
	}
}

// Whatever the limits, everything that may be open at once fits into them, if anything
// does.
func TestDescriptorsSuffice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		descriptors := rapid.Uint64Range(descriptorsKept+2, 1<<21).Draw(t, "descriptors")
		wanted := rapid.IntRange(1, 1<<20).Draw(t, "wanted")
		slots := rapid.IntRange(0, 1<<20).Draw(t, "slots")
		others := rapid.IntRange(0, int(descriptors-descriptorsKept)-2).Draw(t, "others")
		clients := affordable(descriptors, wanted, slots, others)
		kept, lines := descriptorsKept+others, clients
		if slots > 0 {
			lines = min(lines, slots)
		}
		if clients+lines+kept > int(descriptors) {
			t.Fatalf("%d clients and %d lines", clients, lines)
		}
		if clients < wanted && clients+lines+kept < int(descriptors)-2 {
			t.Fatalf("%d descriptors are left to nobody", int(descriptors)-clients-lines-kept)
		}
	})
}
