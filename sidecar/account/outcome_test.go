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
	for status, want := range map[int]Outcome{200: OK, 307: OK, 399: OK, 400: UpstreamRefused, 499: UpstreamRefused, 500: UpstreamError, 999: UpstreamError} {
		require.Equal(t, want, Relayed(status), status)
		require.True(t, want.Whole())
	}
	require.False(t, UpstreamBroken.Whole())
}
