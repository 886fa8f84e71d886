package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestOrphans(t *testing.T) {
	type reading struct {
		after  int // seconds
		excess int
		want   int
	}
	for name, readings := range map[string][]reading{
		"only after ten seconds":        {{0, 3, 0}, {5, 3, 0}, {9, 3, 0}, {10, 3, 3}, {15, 3, 3}},
		"the fewest count":              {{0, 3, 0}, {5, 1, 0}, {10, 4, 1}, {15, 4, 1}, {20, 4, 4}},
		"a moment without ends it":      {{0, 2, 0}, {5, 2, 0}, {10, 2, 2}, {15, 0, 0}, {20, 2, 0}, {24, 2, 0}, {25, 2, 0}, {30, 2, 2}},
		"fewer than were sent are none": {{0, -5, 0}, {5, -5, 0}, {10, -5, 0}, {15, 1, 0}},
		"a long silence is no witness":  {{0, 2, 0}, {60, 2, 2}},
		"many readings":                 {{0, 7, 0}, {1, 7, 0}, {2, 7, 0}, {3, 7, 0}, {4, 7, 0}, {5, 7, 0}, {6, 7, 0}, {7, 7, 0}, {8, 7, 0}, {9, 7, 0}, {10, 6, 6}, {11, 7, 6}, {20, 7, 6}, {21, 7, 7}},
	} {
		var o orphans
		for _, r := range readings {
			o.note(r.excess, time.Duration(r.after)*time.Second)
			require.Equal(t, r.want, o.count(), "%s, after %d s", name, r.after)
		}
	}
}

func TestOrphansAreFewInMemory(t *testing.T) {
	var o orphans
	for i := range 100_000 {
		o.note(1+i%2, time.Duration(i)*time.Millisecond)
		require.LessOrEqual(t, len(o.seen), mostSeen+3)
	}
	require.Equal(t, 1, o.count())
	o.forget()
	require.Zero(t, o.count())
	o.note(5, time.Hour)
	require.Zero(t, o.count())
}
