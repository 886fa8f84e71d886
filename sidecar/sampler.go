package sidecar

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/usher-sidecar/usher/sidecar/account"
)

// How many log lines refused requests may cause, per outcome. At ordinary rates each
// request has its line, but a flood of refusals, which costs an attacker next to
// nothing, cannot fill the disk.
const (
	refusalLinesBurst     = 1000
	refusalLinesPerSecond = 50
	leftOutInterval       = 10 * time.Second // between two reports of what was left out
)

// A sampler decides which refused requests are logged, and counts those that are not.
// Each outcome has its own allowance, so that a flood of one kind does not hide the
// others.
type sampler struct {
	log *zap.Logger

	mu         sync.Mutex
	allowances [account.Outcomes]allowance
}

type allowance struct {
	used    float64   // of the burst
	at      time.Time // when used was updated
	leftOut uint64    // since the last report
	total   uint64    // left out since the start
}

func newSampler(log *zap.Logger) *sampler { return &sampler{log: log} }

// allow reports whether a refused request gets its line.
func (s *sampler) allow(outcome account.Outcome, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &s.allowances[outcome]
	if now.After(a.at) {
		a.used = max(0, a.used-now.Sub(a.at).Seconds()*refusalLinesPerSecond)
	}
	a.at = now
	if a.used <= refusalLinesBurst-1 {
		a.used++
		return true
	}
	a.leftOut++
	a.total++
	return false
}

// total returns how many lines of an outcome were left out since the start.
func (s *sampler) total(outcome account.Outcome) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.allowances[outcome].total
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
	var left [account.Outcomes]uint64
	s.mu.Lock()
	for o := range s.allowances {
		left[o], s.allowances[o].leftOut = s.allowances[o].leftOut, 0
	}
	s.mu.Unlock()
	for o, n := range left {
		if n > 0 {
			s.log.Warn("request lines left out", zap.Stringer("outcome", account.Outcome(o)), zap.Uint64("left_out", n))
		}
	}
}
