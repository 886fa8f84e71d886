package account

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every outcome has a code of its own and a class.
func TestOutcomes(t *testing.T) {
	seen := map[string]bool{}
	for o := range Outcomes {
		require.Regexp(t, `^[a-z_]+$`, o.String())
		require.False(t, seen[o.String()], "%s stands twice", o)
		seen[o.String()] = true
		require.True(t, slices.Contains(Classes, o.Class()), o.String())
	}
	require.False(t, OK.Refused())
	require.False(t, Cut.Refused())
	require.True(t, BadSignature.Refused())
	require.True(t, UpstreamError.Refused())
}
