package hangup

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A client that was silent while it waited for its answer has time to acknowledge it, even
// if two sweeps follow each other closely.
func TestAnAnswerAfterSilenceIsNoStall(t *testing.T) {
	const timeout = time.Second
	var s stall
	begun := time.Now()
	look := func(after time.Duration) bool {
		return s.sees(taken{1, 1}, 2*timeout, true, begun.Add(after), timeout)
	}
	require.False(t, look(0))
	require.False(t, look(28*time.Millisecond))
	require.True(t, look(ackDelay), "nothing was heard for longer than the time-out")
}
