package sidecar

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/sidecar/front"
)

// A drain that cuts has cut only what did not end well by itself.
func TestCutCountsWhatItBrokeOff(t *testing.T) {
	c := newCalls()
	var whole, waiting, left, early call
	for _, x := range []*call{&whole, &waiting, &left, &early} {
		c.add(x)
	}
	c.remove(&early, true) // refused before the cut
	left.cancel(front.ErrGone)
	c.cut(errCut)
	c.remove(&whole, false)
	c.remove(&waiting, true)
	c.remove(&left, true)
	<-c.idle()
	require.Equal(t, 1, c.broken())
}

// A request that is given its slot by one that the drain has cut is not sent:
// it has not been cut itself yet, but will be.
func TestNothingIsSentOnceTheDrainCuts(t *testing.T) {
	list := newCalls()
	var before, after call
	list.add(&before)
	require.NoError(t, list.bind(&before, nil))
	list.cut(errCut)
	require.ErrorIs(t, before.why(), errCut)

	require.ErrorIs(t, list.bind(&after, nil), errCut)
	list.add(&after)
	list.remove(&after, true)
	require.Equal(t, 1, list.broken(), "it counts as cut")
}
