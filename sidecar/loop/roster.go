package loop

import (
	"sync"
	"sync/atomic"
	"time"
)

// A roster knows the streams of a loop, and which of them were woken. Its methods are
// safe for concurrent use.
type roster struct {
	alarm func(at time.Time) // wakes the loop at a time; called with mu held
	every time.Duration      // between two looks for silent streams
	past  time.Time          // any time that is over

	hasPosted atomic.Bool

	mu        sync.Mutex
	lastToken uint64
	members   map[uint64]*Member // by token
	posted    []*Member
	sweepAt   time.Time // when to look for silent streams; zero: there are none
}

// sweepsPerSilence is how often the loop looks for silent streams within the time that
// they may be silent. They are found up to one interval late.
const sweepsPerSilence = 8

// add gives m a token.
func (r *roster) add(m *Member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastToken++
	m.token = r.lastToken
	r.members[m.token] = m
	if r.sweepAt.IsZero() {
		r.sweepAt = time.Now().Add(r.every)
		r.setAlarm()
	}
}

// whileIn calls f while m cannot be removed, and removes m if f fails. It does nothing
// if m was removed before.
func (r *roster) whileIn(m *Member, f func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.members[m.token]; !ok {
		return nil
	}
	err := f()
	if err != nil {
		delete(r.members, m.token)
	}
	return err
}

// remove reports whether m was there.
func (r *roster) remove(m *Member) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.members[m.token]
	delete(r.members, m.token)
	return ok
}

func (r *roster) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.members)
}

// find looks up the streams of a batch; those that have ended are nil.
func (r *roster) find(batch []occurrence, members []*Member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, o := range batch {
		members[i] = r.members[o.token>>1]
	}
}

// post has the loop woken for m.
func (r *roster) post(m *Member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.posted = append(r.posted, m)
	r.hasPosted.Store(true)
	r.setAlarm()
}

// postAll posts every stream.
func (r *roster) postAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.members {
		r.posted = append(r.posted, m)
	}
	if len(r.posted) > 0 {
		r.hasPosted.Store(true)
		r.setAlarm()
	}
}

// takePosted returns the streams that were posted since the last call. The memory of
// spare is used for those to come.
func (r *roster) takePosted(spare []*Member) []*Member {
	if !r.hasPosted.Swap(false) {
		return spare[:0]
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	posted := r.posted
	r.posted = spare[:0]
	return posted
}

// sweepIsDue reports whether it is time to look for silent streams, and sets the next
// time.
func (r *roster) sweepIsDue(at time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sweepAt.IsZero() || at.Before(r.sweepAt) {
		return false
	}
	r.sweepAt = time.Time{}
	if len(r.members) > 0 {
		r.sweepAt = at.Add(r.every)
	}
	return true
}

// silent returns the streams of which nothing has come since then, on the loop's clock.
// It is for the loop's goroutine.
func (r *roster) silent(since time.Duration) (silent []*Member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.members {
		if !m.full && m.last <= since {
			silent = append(silent, m)
		}
	}
	return silent
}

// nextAlarm sets the alarm again after it went off.
func (r *roster) nextAlarm() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.setAlarm()
}

// setAlarm has the loop woken in time: at once if a stream was posted. mu is held, so
// that a later time cannot replace an earlier one that has not been served.
func (r *roster) setAlarm() {
	if len(r.posted) > 0 {
		r.alarm(r.past)
	} else {
		r.alarm(r.sweepAt)
	}
}
