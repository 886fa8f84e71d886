package reorder

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestShareForgets(t *testing.T) {
	var s share
	counted := func(now time.Duration) [2]uint64 {
		admitted, reordered := s.sum(now)
		return [2]uint64{admitted, reordered}
	}
	s.count(false, 0)
	s.count(true, 15*time.Second)
	s.count(false, ShareSpan/2)
	require.Equal(t, [2]uint64{3, 1}, counted(ShareSpan-time.Second))
	require.Equal(t, [2]uint64{2, 1}, counted(ShareSpan+time.Second))
	require.Equal(t, [2]uint64{1, 0}, counted(ShareSpan+20*time.Second))
	s.count(true, 3*ShareSpan)
	require.Equal(t, [2]uint64{1, 1}, counted(3*ShareSpan))
	require.Equal(t, [2]uint64{0, 0}, counted(9*ShareSpan))
}
