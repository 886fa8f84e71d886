package sidecar

import (
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// clockSet returns t as it would read if the wall clock had been set by d. In a time
// with a monotonic reading, Go keeps the wall clock's seconds from bit 30 of the first
// word on, and the monotonic reading in the second.
func clockSet(t time.Time, d time.Duration) time.Time {
	*(*uint64)(unsafe.Pointer(&t)) += uint64(d/time.Second) << 30
	return t
}

func TestClockSet(t *testing.T) {
	now := time.Now()
	require.Equal(t, now.Unix()-3600, clockSet(now, -time.Hour).Unix())
	require.Zero(t, clockSet(now, -time.Hour).Sub(now), "the monotonic reading stays")
}

func TestSawBytes(t *testing.T) {
	start := time.Now()
	s := sawBytes{origin: start}
	require.False(t, s.within(time.Hour, start.Add(time.Millisecond)), "none were seen")
	for _, step := range []struct {
		name string
		at   time.Duration
		kept bool
	}{
		{"the first bytes", time.Second, true},
		{"within the millisecond", time.Second + time.Millisecond, false},
		{"after it", time.Second + time.Millisecond + 1, true},
		{"what was seen before and told late", time.Second, false},
	} {
		before := s.last.Load()
		s.at(start.Add(step.at))
		want := before
		if step.kept {
			want = int64(step.at)
		}
		require.Equal(t, want, s.last.Load(), step.name)
	}
}

// Setting the wall clock changes nothing: a hanging server does not pass for one that
// answers, nor the other way round.
func TestSawBytesByTheMonotonicClock(t *testing.T) {
	for name, set := range map[string]time.Duration{"back": -time.Hour, "on": time.Hour} {
		start := time.Now()
		s := sawBytes{origin: start}
		s.at(start.Add(time.Second))
		after := func(d time.Duration) time.Time { return clockSet(start.Add(d), set) }
		require.True(t, s.within(5*time.Second, after(5*time.Second)), name)
		require.False(t, s.within(5*time.Second, after(6*time.Second)), name)
		s.at(after(10 * time.Second))
		require.True(t, s.within(5*time.Second, after(14*time.Second)), name)
		require.False(t, s.within(5*time.Second, after(15*time.Second)), name)
	}
}
