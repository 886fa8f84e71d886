package main

import (
	"log/slog"
	"math"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"go.uber.org/zap"
)

// memoryShare is how much of a container's memory the Go heap and stacks may
// take before the collector works harder; the rest is for what Go does not
// count, mapped files and the binary itself among it.
const memoryShare = 0.9

// limitMemory sets GOMEMLIMIT from the cgroup's limit, where there is one and
// the variable is not set: else a burst of bodies could grow the heap to twice
// what is alive, past the container's end. GOMAXPROCS needs no such help: Go
// follows the cgroup's quota by itself (runtime.GOMAXPROCS, Go 1.25).
func limitMemory(provider memlimit.Provider, log *zap.Logger) {
	limit, err := memlimit.Set(
		memlimit.WithProvider(provider), memlimit.WithRatio(memoryShare), memlimit.WithLogger(slog.New(slog.DiscardHandler)))
	switch {
	case err != nil:
		log.Debug("no memory limit of a cgroup", zap.Error(err))
	case limit < math.MaxInt64:
		log.Info("memory limit", zap.Int64("bytes", limit))
	}
}
