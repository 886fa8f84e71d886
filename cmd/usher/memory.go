package main

import (
	"math"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/config"
)

// A memory is how much memory may be used. In the zero value there is no known limit.
type memory struct {
	limit int64 // bytes, the container's or the one set by GOMEMLIMIT; 0: none
	heap  int64 // bytes, Go's soft limit
	fault error // why the container's limit is not known
}

// limitMemory determines the limit from the cgroup and GOMEMLIMIT. If GOMEMLIMIT is not
// set, it sets Go's soft limit to two thirds: otherwise a burst of bodies could grow the
// heap to twice its live size, beyond the container's limit. The remaining third is for
// what Go does not count: the kernel's memory for sockets (8 KiB for each stream, and
// data in transit) and mapped files. GOMAXPROCS needs no such help, since Go follows the
// cgroup's quota by itself (runtime.GOMAXPROCS, Go 1.25).
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

// tell logs the limit and the settings that follow from it.
func (m memory) tell(log *zap.Logger, cfg *config.Config) {
	if m.limit == 0 {
		log.Debug("no memory limit", zap.Error(m.fault))
		return
	}
	log.Info("memory limit", zap.Int64("bytes", m.limit), zap.Int64("gomemlimit", m.heap), zap.Int64("queue_bytes", cfg.QueueBytes),
		zap.Int64("bodies_bytes", cfg.BodiesBytes), zap.Int("max_body_bytes", cfg.MaxBodyBytes), zap.Int("max_connections", cfg.MaxConnections))
}
