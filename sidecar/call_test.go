package sidecar

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A drain that cuts has cut only what did not end well by itself.
func TestCutCountsWhatItBrokeOff(t *testing.T) {
	c := newCalls()
	var whole, waiting, left, early call
	for _, x := range []*call{&whole, &waiting, &left, &early} {
		c.add(x)
	}
	c.remove(&early, true) // refused before the cut
	left.cancel(errClientGone)
	c.cut(errCut)
	c.remove(&whole, false)
	c.remove(&waiting, true)
	c.remove(&left, true)
	<-c.idle()
	require.Equal(t, 1, c.broken())
}
