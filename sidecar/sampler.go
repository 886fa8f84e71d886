package sidecar

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// How many lines a request that did not get through may cause, per outcome. At
// ordinary rates each has its line; a flood of refusals, which costs an
// attacker next to nothing, cannot fill the disk.
const (
	refusalLinesBurst     = 1000
	refusalLinesPerSecond = 50
	leftOutInterval       = 10 * time.Second // between two reports of what was left out
)

// A sampler decides which refused requests get a line in the log, and counts
// those that do not. Each outcome has an allowance of its own, so that a flood
// of one kind does not hide the others.
type sampler struct {
	log   *zap.Logger
	total atomic.Uint64 // left out since the start

	mu         sync.Mutex
	allowances []allowance // as outcomes() lists them
}

type allowance struct {
	outcome string
	lines   float64   // that may still be written
	at      time.Time // when that was so; zero: never used, all of them
	leftOut uint64    // since the last report
}

func newSampler(log *zap.Logger) *sampler {
	s := &sampler{log: log}
	for _, o := range outcomes() {
		s.allowances = append(s.allowances, allowance{outcome: o, lines: refusalLinesBurst})
	}
	return s
}

// allow tells whether a refused request gets its line.
func (s *sampler) allow(outcome string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.allowances {
		a := &s.allowances[i]
		if a.outcome != outcome {
			continue
		}
		if !a.at.IsZero() && now.After(a.at) {
			a.lines = min(refusalLinesBurst, a.lines+now.Sub(a.at).Seconds()*refusalLinesPerSecond)
		}
		a.at = now
		if a.lines >= 1 {
			a.lines--
			return true
		}
		a.leftOut++
		s.total.Add(1)
		return false
	}
	return true // held by a test: every outcome is in the list
}

// run reports what was left out, a line per outcome, until ctx ends.
func (s *sampler) run(ctx context.Context) {
	tick := time.NewTicker(leftOutInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.report()
		case <-ctx.Done():
			s.report()
			return
		}
	}
}

func (s *sampler) report() {
	s.mu.Lock()
	var left []allowance
	for i := range s.allowances {
		if a := &s.allowances[i]; a.leftOut > 0 {
			left = append(left, *a)
			a.leftOut = 0
		}
	}
	s.mu.Unlock()
	for _, a := range left {
		s.log.Warn("request lines left out", zap.String("outcome", a.outcome), zap.Uint64("left_out", a.leftOut))
	}
}
