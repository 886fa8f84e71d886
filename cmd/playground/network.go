package main

import (
	"context"
	"math"
	"math/rand/v2"
	"time"
)

// exponential draws delays of base plus an exponential part with the given mean.
func exponential(base, mean time.Duration) func(*rand.Rand) time.Duration {
	return func(r *rand.Rand) time.Duration { return base + time.Duration(r.ExpFloat64()*float64(mean)) }
}

// longest bounds the heavy tail: a real client would have given up.
const longest = 5 * time.Second

// pareto draws a delay of 10 ms plus a heavy tail of shape 1.5 and scale 1 ms.
func pareto(r *rand.Rand) time.Duration {
	tail := (math.Pow(1-r.Float64(), -1/1.5) - 1) * float64(time.Millisecond)
	return 10*time.Millisecond + time.Duration(min(tail, float64(longest)))
}

// pause waits for d. Its error is ctx's, if that ends first.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
