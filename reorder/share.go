package reorder

import "time"

// ShareSpan is how far back Stats.RecentAdmitted and RecentReordered look.
const ShareSpan = 5 * time.Minute

const shareBuckets = 30

// A share counts admissions over the last ShareSpan, in buckets of ten seconds.
type share struct {
	buckets [shareBuckets]struct{ admitted, reordered uint64 }
	epoch   int64 // number of the bucket being filled, since the start
}

// advance clears the buckets between the last call and now.
func (s *share) advance(now time.Duration) {
	epoch := int64(now / (ShareSpan / shareBuckets))
	if epoch-s.epoch >= shareBuckets {
		*s = share{epoch: epoch}
		return
	}
	for s.epoch < epoch {
		s.epoch++
		s.buckets[s.epoch%shareBuckets] = struct{ admitted, reordered uint64 }{}
	}
}

func (s *share) count(reordered bool, now time.Duration) {
	s.advance(now)
	b := &s.buckets[s.epoch%shareBuckets]
	b.admitted++
	if reordered {
		b.reordered++
	}
}

func (s *share) sum(now time.Duration) (admitted, reordered uint64) {
	s.advance(now)
	for _, b := range s.buckets {
		admitted += b.admitted
		reordered += b.reordered
	}
	return admitted, reordered
}
