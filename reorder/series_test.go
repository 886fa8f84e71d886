package reorder

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Only so many series are remembered, but never is one forgotten in which somebody waits.
func TestSeriesAreForgotten(t *testing.T) {
	cfg := fixed()
	b := newBench(t, cfg)
	require.Equal(t, []string{"a"}, b.arrive("a", Request{Series: 0, Number: 1}))
	require.Empty(t, b.arrive("b", Request{Series: 0, Number: 3}))
	for s := range Series(100) {
		require.Equal(t, []string{"c"}, b.arrive("c", Request{Series: 1 + s, Number: 7}))
		require.LessOrEqual(t, len(b.q.roll.list), mostSeries)
	}
	require.Equal(t, []string{"d", "b"}, b.arrive("d", Request{Series: 0, Number: 2}))
	require.Zero(t, b.q.snapshot(b.now).GapsGivenUp)
	require.Empty(t, b.arrive("e", Request{Series: 100, Number: 9}), "the last one is remembered")
	require.Equal(t, []string{"f"}, b.arrive("f", Request{Series: 1, Number: 9}), "the first begins anew")
}
