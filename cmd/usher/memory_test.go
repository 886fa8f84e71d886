package main

import (
	"errors"
	"math"
	"runtime/debug"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	of := func(bytes uint64, err error) memlimit.Provider {
		return func() (uint64, error) { return bytes, err }
	}
	debug.SetMemoryLimit(math.MaxInt64)
	limitMemory(of(0, errors.New("no cgroup")), zap.NewNop())
	require.EqualValues(t, math.MaxInt64, debug.SetMemoryLimit(-1))

	limitMemory(of(1_000_000_000, nil), zap.NewNop())
	require.EqualValues(t, 900_000_000, debug.SetMemoryLimit(-1))

	debug.SetMemoryLimit(123_456_789)
	t.Setenv("GOMEMLIMIT", "123456789")
	limitMemory(of(1_000_000_000, nil), zap.NewNop())
	require.EqualValues(t, 123_456_789, debug.SetMemoryLimit(-1), "what the operator set stands")
}
