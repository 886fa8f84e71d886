package reorder

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/usher-sidecar/usher/test/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestNewNamesEveryFault(t *testing.T) {
	_, err := New(Config{Slots: -1, Capacity: -1, Bytes: -1, Hold: -1})
	require.ErrorIs(t, err, ErrConfig)
	for _, word := range []string{"Slots", "Capacity", "Bytes", "Timeout", "Hold"} {
		assert.ErrorContains(t, err, word)
	}
	_, err = New(Config{Auto: true, Timeout: 1, MaxHold: -1})
	assert.ErrorContains(t, err, "MaxHold")
	assert.ErrorContains(t, err, "Target")
}

func TestSlotTellsWhereTimeWent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := fixed()
		cfg.Slots = 1
		b, err := New(cfg)
		require.NoError(t, err)
		first, err := b.Admit(t.Context(), Request{Number: 1})
		require.NoError(t, err)
		assert.Zero(t, first.Held())
		assert.Zero(t, first.Queued())
		first.Release()
		first.Release()
		assert.Zero(t, b.Stats().InFlight, "released once")

		// 3 is held for 40 ms, then 2 takes the slot for 70 ms.
		var third Slot
		var group sync.WaitGroup
		group.Go(func() { third, err = b.Admit(t.Context(), Request{Number: 3}) })
		time.Sleep(40 * ms)
		second, errSecond := b.Admit(t.Context(), Request{Number: 2})
		require.NoError(t, errSecond)
		time.Sleep(70 * ms)
		second.Release()
		group.Wait()
		require.NoError(t, err)
		assert.Equal(t, 40*ms, third.Held())
		assert.Equal(t, 70*ms, third.Queued())
		third.Release()
	})
}

func TestContextEndsWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := fixed()
		cfg.Slots = 1
		b, err := New(cfg)
		require.NoError(t, err)
		slot, err := b.Admit(t.Context(), Request{Number: 1})
		require.NoError(t, err)
		reason := errors.New("the client went away")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(5*ms, func() { cancel(reason) })
		waited, err := b.Admit(ctx, Request{Number: 2})
		require.ErrorIs(t, err, reason)
		assert.Equal(t, 5*ms, waited.Queued())
		waited.Release() // an empty Slot
		assert.Equal(t, 1, b.Stats().InFlight)
		assert.Zero(t, b.Stats().Waiting)
		slot.Release()
		assert.Zero(t, b.Stats().InFlight)
	})
}

// spooler takes in bytes for as long as there is room.
type spooler struct {
	more     func(int64) bool
	took     int64
	began    int
	halted   int
	overtime bool // there was room once it was halted
}

func (s *spooler) Spool(more func(int64) bool) {
	s.began++
	s.more = more
	for more(10) {
		s.took += 10
	}
}

func (s *spooler) Halt() {
	s.halted++
	s.overtime = s.overtime || s.more(1)
}

func TestSpooling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := fixed()
		cfg.Slots, cfg.Bytes = 1, 100
		b, err := New(cfg)
		require.NoError(t, err)
		var first spooler
		slot, err := b.Admit(t.Context(), Request{Number: 1, Spooler: &first})
		require.NoError(t, err)
		require.Zero(t, first, "it does not wait")

		// Each takes half of what is left, and gives it back whichever way it goes.
		var admitted, left, refused spooler
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		wait := func(ctx context.Context, r Request, want error) {
			group.Go(func() {
				slot, err := b.Admit(ctx, r)
				assert.ErrorIs(t, err, want)
				slot.Release()
			})
			synctest.Wait()
		}
		wait(t.Context(), Request{Number: 2, Spooler: &admitted}, nil)
		wait(ctx, Request{Number: 3, Spooler: &left}, context.Canceled)
		require.EqualValues(t, 70, b.Stats().WaitingBytes)
		wait(t.Context(), Request{Number: 9, Bytes: 3, Spooler: &refused}, ErrFull)
		require.EqualValues(t, []int64{50, 20, 10}, []int64{admitted.took, left.took, refused.took})
		wait(t.Context(), Request{Number: 4, Bytes: 28}, nil)
		cancel()
		synctest.Wait()
		require.EqualValues(t, 78, b.Stats().WaitingBytes)
		require.False(t, left.overtime)
		slot.Release()
		group.Wait()
		for _, s := range []spooler{admitted, left, refused} {
			require.Equal(t, 1, s.began)
			require.Equal(t, 1, s.halted)
		}
		require.Zero(t, b.Stats().WaitingBytes)
		require.False(t, admitted.overtime, "it waits no longer")
	})
}

// TestNobodyWaitsInVain lets a few hundred requests come, run, give up and be
// refused in virtual time. Whenever all of them are blocked, none could have gone;
// and in the end each got exactly one answer, by its deadline.
func TestNobodyWaitsInVain(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			cfg := Config{
				Slots: r.IntN(4), Capacity: 1 + r.IntN(40), Bytes: 1000, Timeout: 300 * ms,
				Hold: time.Duration(r.IntN(50)) * ms, Auto: seed%2 == 0, MaxHold: 100 * ms, Target: 0.01,
			}
			b, err := New(cfg)
			require.NoError(t, err)
			const n = 300
			var answered atomic.Int64
			var group sync.WaitGroup
			for i := range n {
				size, works, patience := r.Int64N(100), r.IntN(30), r.IntN(1000)
				number := int64(i) + r.Int64N(6)
				group.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(patience)*ms)
					defer cancel()
					start := time.Now()
					slot, err := b.Admit(ctx, Request{Number: number, Unordered: number%11 == 0, Bytes: size})
					answered.Add(1)
					assert.LessOrEqual(t, time.Since(start), cfg.Timeout)
					if err == nil {
						assert.Equal(t, time.Since(start), slot.Held()+slot.Queued())
						slot.Sent()
						time.Sleep(time.Duration(works) * ms)
						slot.Release()
					}
				})
				synctest.Wait()
				requireLive(t, b)
				time.Sleep(time.Duration(r.IntN(20)) * ms)
				if r.IntN(200) == 0 {
					b.Restart(Series(0))
				}
			}
			group.Wait()
			s := b.Stats()
			assert.EqualValues(t, n, answered.Load())
			assert.EqualValues(t, n, s.Admitted+s.RefusedFull+s.TimedOut+s.Cancelled)
			assert.Zero(t, s.Waiting+s.InFlight)
			assert.Zero(t, s.WaitingBytes)
		})
	}
}

// requireLive fails if a slot is free and a waiter that may go has not gone.
func requireLive(t *testing.T, b *Buffer) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Since(b.start)
	for w := b.seq.queue.arrivals.first; w != nil && b.seq.slots.free(); w = w.next {
		require.False(t, w.due || w.request.Number <= w.series.numbers.expected, "number %d may go and does not", w.request.Number)
	}
	for _, e := range b.seq.queue.holds.entries {
		require.True(t, !b.seq.slots.free() || time.Duration(e.key) > now, "the hold of number %d is over", e.w.request.Number)
	}
	require.LessOrEqual(t, b.armed, b.seq.wake(), "the timer comes too late")
}

// TestHammer uses one Buffer from thousands of goroutines on the real clock.
func TestHammer(t *testing.T) {
	cfg := Config{Slots: 8, Capacity: 3000, Bytes: 1 << 20, Timeout: 2 * time.Second, Auto: true, MaxHold: 5 * ms, Target: 0.01}
	b, err := New(cfg)
	require.NoError(t, err)
	const workers, each = 2000, 10
	var number, running atomic.Int64
	var outcomes [4]atomic.Int64
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 0))
			for range each {
				ctx, cancel := t.Context(), context.CancelFunc(func() {})
				if r.IntN(3) == 0 {
					ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(20_000))*time.Microsecond)
				}
				slot, err := b.Admit(ctx, Request{Number: number.Add(1) + r.Int64N(20), Bytes: r.Int64N(600)})
				cancel()
				switch {
				case err == nil:
					if running.Add(1) > int64(cfg.Slots) {
						t.Error("more admitted than there are slots")
					}
					outcomes[0].Add(1)
					running.Add(-1)
					slot.Release()
				case errors.Is(err, ErrFull):
					outcomes[1].Add(1)
				case errors.Is(err, ErrTimeout):
					outcomes[2].Add(1)
				case errors.Is(err, context.DeadlineExceeded):
					outcomes[3].Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	s := b.Stats()
	assert.EqualValues(t, workers*each, outcomes[0].Load()+outcomes[1].Load()+outcomes[2].Load()+outcomes[3].Load())
	assert.EqualValues(t, workers*each, s.Admitted+s.RefusedFull+s.TimedOut+s.Cancelled)
	assert.Zero(t, s.Waiting+s.InFlight)
	assert.Zero(t, s.WaitingBytes)
}

// TestInOrder holds everything for as long as it takes: a shuffled run in which
// no number is missing is admitted in order, whatever the shuffle.
func TestInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := fixed()
		cfg.Hold, cfg.Timeout = time.Second, time.Minute
		b, err := New(cfg)
		require.NoError(t, err)
		first, err := b.Admit(t.Context(), Request{Number: 0})
		require.NoError(t, err)
		defer first.Release()
		var group sync.WaitGroup
		for _, i := range rand.New(rand.NewPCG(1, 1)).Perm(99) {
			group.Go(func() {
				slot, err := b.Admit(t.Context(), Request{Number: int64(i) + 1})
				assert.NoError(t, err)
				slot.Release()
			})
			time.Sleep(ms)
		}
		group.Wait()
		s := b.Stats()
		assert.EqualValues(t, 100, s.Admitted)
		assert.Zero(t, s.Reordered)
		assert.Zero(t, s.Late)
		assert.Equal(t, s.GapsOpened, s.GapsFilled)
	})
}

// Slots that are added while requests wait are used at once, and time without a free
// slot counts as queueing, however many slots there were.
func TestResize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := New(Config{Slots: 1, Capacity: 10, Bytes: 100, Timeout: time.Minute})
		require.NoError(t, err)
		first, err := b.Admit(t.Context(), Request{Number: 1})
		require.NoError(t, err)
		admitted := make(chan Slot, 3)
		for n := int64(2); n <= 4; n++ {
			go func() {
				slot, err := b.Admit(t.Context(), Request{Number: n})
				require.NoError(t, err)
				admitted <- slot
				slot.Sent()
			}()
			synctest.Wait()
		}
		time.Sleep(time.Second)
		b.Resize(3)
		synctest.Wait()
		require.Len(t, admitted, 2)
		require.Equal(t, 3, b.Stats().Slots)
		second, third := <-admitted, <-admitted
		require.Equal(t, time.Second, second.Queued())
		require.Zero(t, second.Held())
		b.Resize(-1)
		require.Equal(t, 1, b.Stats().Slots)
		first.Release()
		second.Release()
		synctest.Wait()
		require.Empty(t, admitted, "one runs, and there is one slot")
		third.Release()
		fourth := <-admitted
		require.Equal(t, time.Second, fourth.Queued())
		fourth.Release()
		require.Equal(t, 0, b.Stats().InFlight)
	})
}
