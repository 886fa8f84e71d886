package reorder

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func benchConfig(slots, capacity int) Config {
	return Config{Slots: slots, Capacity: capacity, Bytes: 1 << 40, Timeout: time.Hour, Auto: true, MaxHold: 250 * ms, Target: 0.01}
}

// BenchmarkAdmit is an admission with nothing to wait for, and its release.
func BenchmarkAdmit(b *testing.B) {
	buffer, err := New(benchConfig(128, 512))
	require.NoError(b, err)
	b.ReportAllocs()
	number := int64(0)
	for b.Loop() {
		number++
		slot, _ := buffer.Admit(b.Context(), Request{Number: number, Bytes: 2048})
		slot.Release()
	}
}

// BenchmarkAdmitContended is the same from many goroutines, the numbers a little
// out of order as they are when goroutines race.
func BenchmarkAdmitContended(b *testing.B) {
	for _, goroutines := range []int{8, 1000} {
		b.Run(fmt.Sprint(goroutines), func(b *testing.B) {
			cfg := benchConfig(0, 512)
			cfg.MaxHold = 0
			buffer, err := New(cfg)
			require.NoError(b, err)
			var number atomic.Int64
			b.ReportAllocs()
			b.SetParallelism((goroutines + 1) / 2)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					slot, _ := buffer.Admit(b.Context(), Request{Number: number.Add(1), Bytes: 2048})
					slot.Release()
				}
			})
		})
	}
}

// BenchmarkWaiting is one arrival and one departure while many wait: what the
// sequencer does for a request that has to queue, without the goroutines.
func BenchmarkWaiting(b *testing.B) {
	for _, waiting := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(waiting), func(b *testing.B) {
			cfg := benchConfig(1, waiting+1)
			s := newSequencer(cfg, newEstimator(cfg), func() *waiter { return new(waiter) })
			now := time.Duration(1)
			number := int64(0)
			var spare *waiter
			arrive := func() {
				number++
				s.arrive(Request{Number: number ^ 7, Bytes: 2048}, now)
			}
			for range waiting + 1 {
				arrive()
			}
			s.alloc = func() *waiter { w := spare; spare = nil; return w }
			spare = new(waiter)
			b.ReportAllocs()
			for b.Loop() {
				now += time.Microsecond
				arrive()
				s.release(now)
				w := s.settled.take()
				w.nextSettled, spare = nil, w
			}
		})
	}
}

// BenchmarkHeldAndFilled is a pair that comes in the wrong order while many are
// held: the first is held, the second releases it.
func BenchmarkHeldAndFilled(b *testing.B) {
	for _, waiting := range []int{0, 100, 10_000} {
		b.Run(fmt.Sprint(waiting), func(b *testing.B) {
			cfg := benchConfig(0, waiting+2)
			cfg.Auto, cfg.Hold = false, time.Hour/2
			s := newSequencer(cfg, newEstimator(cfg), func() *waiter { return new(waiter) })
			s.arrive(Request{Number: 0}, 1)
			for i := range waiting {
				s.arrive(Request{Number: 1<<60 + 2*int64(i)}, 1)
			}
			spare := new(waiter)
			s.alloc = func() *waiter { return spare }
			number, now := int64(1), time.Duration(2)
			b.ReportAllocs()
			for b.Loop() {
				s.arrive(Request{Number: number + 1}, now)
				s.arrive(Request{Number: number}, now)
				s.settled.take().nextSettled = nil
				s.release(now)
				s.release(now)
				number += 2
			}
		})
	}
}
