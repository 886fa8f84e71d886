package main

import (
	"math"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/config"
)

// A memory is what there is to live in. The zero value is without end, as far as
// is known.
type memory struct {
	limit int64 // of the container, or what its operator wants to be kept to
	heap  int64 // Go's limit
	fault error // why the container's limit is not known
}

// limitMemory finds out how much there is, by the cgroup's limit and GOMEMLIMIT,
// and sets GOMEMLIMIT, where it is not set, to two thirds: else a burst of bodies
// could grow the heap to twice what is alive, past the container's end. The rest is
// for what Go does not count: the kernel's part of sockets, 8 KiB a stream and what
// is on its way, and mapped files. GOMAXPROCS needs no such help: Go follows the cgroup's quota by itself
// (runtime.GOMAXPROCS, Go 1.25).
func limitMemory(provider memlimit.Provider) (m memory) {
	limit, err := provider()
	if m.fault = err; err == nil && limit < math.MaxInt64 {
		m.limit = int64(limit)
	}
	switch set := debug.SetMemoryLimit(-1); {
	case os.Getenv("GOMEMLIMIT") == "" && m.limit > 0:
		debug.SetMemoryLimit(m.limit / 3 * 2)
	case set < math.MaxInt64 && (m.limit == 0 || set < m.limit):
		m.limit = set
	}
	m.heap = debug.SetMemoryLimit(-1)
	return m
}

// tell says what follows from it.
func (m memory) tell(log *zap.Logger, cfg *config.Config) {
	if m.limit == 0 {
		log.Debug("no memory limit", zap.Error(m.fault))
		return
	}
	log.Info("memory limit", zap.Int64("bytes", m.limit), zap.Int64("gomemlimit", m.heap), zap.Int64("queue_bytes", cfg.QueueBytes),
		zap.Int64("bodies_bytes", cfg.BodiesBytes), zap.Int("max_body_bytes", cfg.MaxBodyBytes), zap.Int("max_connections", cfg.MaxConnections))
}
