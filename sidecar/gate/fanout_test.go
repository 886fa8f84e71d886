package gate

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFanout(t *testing.T) {
	var g Gate
	for _, runs := range []uint64{1, 3, 0, math.MaxUint64} {
		g.fanout.add(runs, 1)
	}
	more, uncertain := g.Beyond()
	require.Equal(t, 2+mostRuns-1, more)
	require.True(t, uncertain)
	g.fanout.add(math.MaxUint64, -1)
	g.fanout.add(0, -1)
	more, uncertain = g.Beyond()
	require.Equal(t, 2, more)
	require.False(t, uncertain)
	g.fanout.add(3, -1)
	g.fanout.add(1, -1)
	more, uncertain = g.Beyond()
	require.Zero(t, more)
	require.False(t, uncertain)
}
