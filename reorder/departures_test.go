package reorder

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A journey is what the requests of a test did, in the order in which they did it.
type journey struct {
	mu    sync.Mutex
	steps []int64
}

func (j *journey) add(n int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.steps = append(j.steps, n)
}

// Requests held behind one gap are sent in order, however long each takes.
func TestDeparturesAreInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := New(fixed())
		require.NoError(t, err)
		var sent journey
		var group sync.WaitGroup
		send := func(n int64) {
			slot, err := b.Admit(t.Context(), Request{Number: n})
			assert.NoError(t, err)
			time.Sleep(time.Duration(20-n) * 100 * time.Microsecond) // on the way to the model server
			sent.add(n)
			slot.Sent()
			slot.Sent()
			time.Sleep(time.Second) // the answer
			slot.Release()
		}
		group.Go(func() { send(1) })
		time.Sleep(10 * ms)
		for _, n := range []int64{9, 4, 7, 3, 5, 8, 6} {
			group.Go(func() { send(n) })
			synctest.Wait()
		}
		group.Go(func() { send(2) })
		synctest.Wait()
		group.Go(func() { send(10) }) // the next one, while the others are on their way
		group.Wait()
		require.Equal(t, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, sent.steps)
		require.Zero(t, b.Stats().Reordered)
		require.True(t, b.departures.idle())
	})
}

// A request that is admitted at once while lower ones wait goes after them.
func TestDepartureOfANewcomerBehindOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := fixed()
		cfg.Bytes = 10
		b, err := New(cfg)
		require.NoError(t, err)
		var sent journey
		var group sync.WaitGroup
		send := func(n, bytes int64) {
			slot, err := b.Admit(t.Context(), Request{Number: n, Bytes: bytes})
			assert.NoError(t, err)
			sent.add(n)
			slot.Release()
		}
		send(1, 0)
		group.Go(func() { send(4, 1) })
		group.Go(func() { send(3, 1) })
		synctest.Wait()
		send(5, 11) // too large to be held
		group.Wait()
		require.Equal(t, []int64{1, 3, 4, 5}, sent.steps)
	})
}

// Nobody waits long for a request that is not sent, nor for one whose client has
// left.
func TestDeparturesDoNotStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := New(fixed())
		require.NoError(t, err)
		first, err := b.Admit(t.Context(), Request{Number: 1})
		require.NoError(t, err)
		first.Release()
		var sent journey
		var group sync.WaitGroup
		reason := errors.New("the client went away")
		gone, cancel := context.WithCancelCause(t.Context())
		for n := int64(3); n <= 6; n++ {
			ctx := t.Context()
			if n == 4 {
				ctx = gone
			}
			group.Go(func() {
				slot, err := b.Admit(ctx, Request{Number: n})
				if n == 4 {
					assert.ErrorIs(t, err, reason)
					return
				}
				assert.NoError(t, err)
				sent.add(n)
				slot.Release()
			})
		}
		synctest.Wait()
		start := time.Now()
		stuck, err := b.Admit(t.Context(), Request{Number: 2})
		require.NoError(t, err)
		synctest.Wait()
		require.Empty(t, sent.steps, "they go behind 2")
		cancel(reason)
		group.Wait()
		require.Equal(t, maxStall, time.Since(start))
		require.Equal(t, []int64{3, 5, 6}, sent.steps)
		require.Equal(t, 1, b.Stats().InFlight)
		stuck.Sent() // its turn is long over
		stuck.Release()
		require.Zero(t, b.Stats().InFlight)
		require.True(t, b.departures.idle())
	})
}

// A request that stalls is the only one out of order; if many stall, nobody is
// waited for.
func TestDeparturesPassOverWhoStalls(t *testing.T) {
	for stalled, want := range map[int]time.Duration{
		1: maxStall, mostStalls - 1: (mostStalls - 1) * maxStall, mostStalls: mostStalls * maxStall, 30: mostStalls * maxStall,
	} {
		synctest.Test(t, func(t *testing.T) {
			b, err := New(fixed())
			require.NoError(t, err)
			var sent journey
			var group sync.WaitGroup
			start := time.Now()
			send := func(n int64) {
				slot, err := b.Admit(t.Context(), Request{Number: n})
				assert.NoError(t, err)
				if n > 1 && n < int64(2+stalled) {
					time.Sleep(time.Second)
				}
				sent.add(n)
				slot.Sent()
				if n == 40 {
					assert.Equal(t, want, time.Since(start))
				}
				slot.Release()
			}
			send(1)
			for n := int64(40); n > 2; n-- {
				group.Go(func() { send(n) })
				synctest.Wait()
			}
			group.Go(func() { send(2) })
			group.Wait()
			require.Len(t, sent.steps, 40)
			if stalled < mostStalls {
				require.True(t, slices.IsSorted(sent.steps[:40-stalled]), sent.steps)
				require.EqualValues(t, 2+stalled, sent.steps[1])
			}
			require.True(t, b.departures.idle())
		})
	}
}
