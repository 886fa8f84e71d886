package front

import (
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func origin(n byte) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, 113, n}) }

// Turns go round the origins that wait: a single client does not wait behind a flood.
func TestTurnsGoRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1, 100)
		far := time.Now().Add(time.Hour)
		require.NoError(t, turns.take(origin(0), far, false))
		var mu sync.Mutex
		var order []byte
		for _, n := range []byte{1, 1, 1, 1, 2, 3, 3} {
			go func() {
				require.NoError(t, turns.take(origin(n), far, false))
				mu.Lock()
				order = append(order, n)
				mu.Unlock()
				turns.give()
			}()
			synctest.Wait()
		}
		require.Equal(t, 7, turns.count())
		turns.give()
		synctest.Wait()
		require.Equal(t, []byte{1, 2, 3, 1, 3, 1, 1}, order)
		require.Zero(t, turns.count())
		require.Equal(t, 1, turns.free)
		require.Empty(t, turns.queues)
	})
}

// If too many wait, the newest of the longest queue is refused, and a waiter fails when
// its deadline passes.
func TestTurnsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1, 3)
		start := time.Now()
		require.NoError(t, turns.take(origin(0), start, false))
		type end struct {
			n   byte
			err error
		}
		ends := make(chan end, 10)
		join := func(n byte, patience time.Duration) {
			go func() { ends <- end{n, turns.take(origin(n), start.Add(patience), false)} }()
			synctest.Wait()
		}
		join(1, time.Minute)
		join(1, time.Hour)
		join(1, time.Hour)
		require.Empty(t, ends)
		join(1, time.Hour)
		require.Equal(t, end{1, errNoTurn}, <-ends, "the newest of the flood")
		join(2, time.Hour)
		require.Equal(t, end{1, errNoTurn}, <-ends, "the flood gives way to another")
		require.Equal(t, 3, turns.count())
		require.Equal(t, end{1, errTurnLate}, <-ends)
		require.Equal(t, time.Minute, time.Since(start))
		turns.give()
		require.NoError(t, (<-ends).err)
		turns.give()
		require.NoError(t, (<-ends).err)
		turns.give()
		require.Equal(t, 1, turns.free)
	})
}

// However turns are taken, given and waited for in vain, there are never more at once
// than allowed, none is lost, and nobody waits while one is free.
func TestTurnsAreNeitherLostNorDoubled(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		free := rapid.IntRange(1, 3).Draw(r, "free")
		most := rapid.IntRange(1, 5).Draw(r, "most")
		steps := rapid.SliceOfN(rapid.IntRange(0, 9), 1, 60).Draw(r, "steps")
		synctest.Test(t, func(t *testing.T) {
			turns := newTurns(free, most)
			holding := 0
			var mu sync.Mutex
			for _, step := range steps {
				switch {
				case step < 6:
					patience := time.Duration(step+1) * 10 * time.Millisecond
					go func() {
						if turns.take(origin(byte(step%3)), time.Now().Add(patience), step == 5) == nil {
							mu.Lock()
							holding++
							mu.Unlock()
						}
					}()
				case step < 8 && holding > 0:
					holding--
					turns.give()
				default:
					time.Sleep(15 * time.Millisecond)
				}
				synctest.Wait()
				turns.check(t, free-holding, most)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			for range holding {
				turns.give()
			}
			turns.check(t, free, most)
		})
	})
}

// check fails unless free turns are free, nobody waits in vain, and the queues are
// consistent.
func (t *turns) check(tb testing.TB, free, most int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	require.Equal(tb, free, t.free)
	require.True(tb, t.waiting+t.begun.Len() == 0 || t.free == 0)
	require.LessOrEqual(tb, t.waiting, most)
	lengths := 0
	for _, l := range t.queues {
		lengths += l.waiters.Len()
	}
	require.Equal(tb, t.waiting, lengths)
	require.Equal(tb, len(t.queues), t.round.Len())
}

func BenchmarkTurn(b *testing.B) {
	turns, far := newTurns(1, 1), time.Now().Add(time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		if turns.take(origin(1), far, false) != nil {
			b.Fatal("no turn")
		}
		turns.give()
	}
}
