package sidecar

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What came last is kept to the millisecond, also after the clock was set back:
// else the prober would keep still until the clock has caught up.
func TestFlow(t *testing.T) {
	var s Sidecar
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for _, step := range []struct {
		name string
		now  time.Time
		kept bool
	}{
		{"the first bytes", at, true},
		{"within the millisecond", at.Add(time.Millisecond), false},
		{"after it", at.Add(time.Millisecond + 1), true},
		{"an hour back", at.Add(-time.Hour), true},
	} {
		before := s.flowing.Load()
		s.flow(step.now)
		want := before
		if step.kept {
			want = step.now.UnixNano()
		}
		require.Equal(t, want, s.flowing.Load(), step.name)
	}
}
