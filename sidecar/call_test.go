package sidecar

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/sidecar/front"
)

// A drain that cuts counts only requests that would not have ended well on their own.
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

// A request that gets its slot from one that the drain has cut is not sent, although
// the drain has not reached it yet.
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

// A context derived from a call ends with it and costs no goroutine.
func TestContextsOfACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c call
		before := runtime.NumGoroutine()
		first, stopFirst := context.WithTimeout(&c, time.Hour)
		second, stopSecond := context.WithCancel(&c)
		defer stopFirst()
		require.Equal(t, before, runtime.NumGoroutine())
		stopSecond()
		require.Nil(t, c.after.next, "what is over is not held")
		require.NoError(t, first.Err())
		require.Error(t, second.Err())
		c.cancel(front.ErrGone)
		synctest.Wait()
		require.ErrorIs(t, first.Err(), context.Canceled)
		require.Nil(t, c.after)

		late, stopLate := context.WithCancel(&c)
		defer stopLate()
		synctest.Wait()
		require.Error(t, late.Err())
		called := make(chan struct{})
		stop := c.AfterFunc(func() { close(called) })
		<-called
		require.False(t, stop())
	})
}
