package main

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCourse(t *testing.T) {
	hour := func(resident func(second float64) float64) (samples []sample) {
		for second := 10.0; second <= 3600; second += 10 {
			samples = append(samples, sample{second: second, resident: resident(second)})
		}
		return samples
	}
	r := rand.New(rand.NewPCG(1, 1))
	for _, tt := range []struct {
		name     string
		resident func(second float64) float64
		flat     bool
		slope    float64
	}{
		{"level", func(float64) float64 { return 40 }, true, 0},
		{"noisy", func(float64) float64 { return 40 + r.NormFloat64() }, true, 0},
		{"warms up", func(s float64) float64 { return 40 - 20*math.Exp(-s/60) }, true, 0},
		{"a leak of a quarter", func(s float64) float64 { return 40 + 10*s/3600 }, false, 10},
		{"a leak below the noise", func(s float64) float64 { return 40 + 10*s/3600 + r.NormFloat64() }, false, 10},
		{"late", func(s float64) float64 { return 40 + max(0, s-2400)/60 }, false, 23},
		{"beside a busy neighbour", func(s float64) float64 { return 40 + 30*float64(int(s)/100%2)*s/3600 }, true, 30},
		{"odd samples", func(s float64) float64 { return 40 + 1000*float64(int(s)/10%20/19) }, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := courseOf(hour(tt.resident), measures[0].of)
			require.Equal(t, tt.flat, c.flat(), "%+v", c)
			require.InDelta(t, tt.slope, c.slope, 2.5, "%+v", c)
		})
	}
}
