package engine

import (
	"fmt"
	"time"

	"github.com/usher-sidecar/usher/config/preset"
)

const (
	// settling is how long a change takes to show in the server's figures, and how
	// long requests must have waited there before that counts as a queue.
	settling = time.Second
	// crowdedLooks is how many looks in a row must have seen a queue.
	crowdedLooks = 2
	// firstPatience is how long the slots stay at the most that the server was seen to
	// run before more are tried. It doubles with each attempt that fails, up to
	// mostPatience. An attempt costs a few seconds with requests queued at the server.
	firstPatience = 2 * time.Minute
	mostPatience  = 16 * time.Minute
	// share: one in this many of the requests that the server runs may wait there
	// without counting as a queue, since they came between two of its steps; and the
	// slots grow by one in this many at an attempt.
	share = 16
)

// A Load is what has been sent to the server, and what waits in Usher to be sent.
type Load struct {
	InFlight int // requests that have a slot
	Queued   int // requests that wait for one
}

// A look is the server's figures and the load at about the same time; at is the time
// since some fixed moment.
type look struct {
	Figures
	Load
	at time.Duration
}

// slots adapts the number of slots to what a model server can run, so that requests
// queue in Usher, where the queue is ordered and bounded. The number doubles while all
// slots are taken, requests wait here and none wait at the server. Once some wait
// there, it drops to what the server runs. From then on a few more are tried now and
// then. It is pure. Make it with newSlots.
type slots struct {
	n      int
	reason string // for n

	stated   int // the server's own number, which is never exceeded; 0: it states none
	ceiling  int // what it ran when it last had a queue; 0: not known
	changed  time.Duration
	crowded  int           // looks in a row that saw a queue
	since    time.Duration // time of the first of them
	ran      int           // the most that ran in any of them
	patience time.Duration // time until the next attempt beyond ceiling
	tryAt    time.Duration // time of the next attempt
	base     int           // what the server ran before the attempt
	trying   bool          // an attempt is being made
}

func newSlots() slots {
	return slots{n: preset.StartSlots, reason: fmt.Sprintf("starts at %d", preset.StartSlots), patience: firstPatience, changed: -settling}
}

// state sets the number that the server states.
func (s *slots) state(n int) (changed bool) {
	n = min(max(n, preset.MinSlots), preset.MaxSlots)
	if n == s.stated {
		return false
	}
	before := s.n
	*s = slots{n: n, stated: n, patience: firstPatience, changed: -settling, reason: fmt.Sprintf("the model server states %d", n)}
	return n != before
}

// unknown falls back to the default for a server without figures.
func (s *slots) unknown(why string) (changed bool) {
	if s.stated > 0 || s.n == preset.DefaultSlots {
		return false
	}
	s.n, s.reason = preset.DefaultSlots, fmt.Sprintf("%d, because the model server's load cannot be read: %s", preset.DefaultSlots, why)
	return true
}

// renew forgets what the server ran: it may be a different one now.
func (s *slots) renew() {
	s.ceiling, s.trying, s.crowded, s.patience = 0, false, 0, firstPatience
}

// step considers a look and makes at most one change.
func (s *slots) step(l look) (changed bool) {
	before := s.n
	queue := l.Waiting > l.Running/share
	full := l.InFlight >= s.n && l.Queued > 0
	switch {
	case !queue || l.InFlight > s.n: // after shrinking, the surplus must end first
		s.crowded = 0
	default:
		if s.crowded == 0 {
			s.since, s.ran = l.at, 0
		}
		s.crowded++
		s.ran = max(s.ran, l.Running)
	}
	switch settled := l.at-s.changed >= settling; {
	case s.crowded >= crowdedLooks && l.at-s.since >= settling:
		s.shrink(l)
	case s.trying && full && settled:
		s.judge(l)
	case !queue && full && settled:
		s.grow(l)
	}
	if s.n == before {
		return false
	}
	s.changed, s.crowded = l.at, 0
	return true
}

// shrink goes back to the most that the server ran while it had a queue; a single look
// may fall between the end of one request and the start of the next. If that is not
// below n, because one request counts as several there or others use the server too,
// shrink reduces n by the share of those waiting.
func (s *slots) shrink(l look) {
	n := s.ran
	if n >= s.n {
		if l.InFlight == 0 {
			return
		}
		n = s.n * s.ran / (s.ran + l.Waiting)
	}
	s.settle(max(n, preset.MinSlots), l.at)
	s.reason = fmt.Sprintf("%d, as many as the model server ran while it had %d waiting", s.n, l.Waiting)
}

// settle keeps n for a while.
func (s *slots) settle(n int, now time.Duration) {
	if s.trying {
		s.patience = min(2*s.patience, mostPatience)
	}
	s.n, s.ceiling, s.tryAt, s.trying = n, n, now+s.patience, false
}

// judge ends an attempt: if the server runs more now, there may be room for still more.
func (s *slots) judge(l look) {
	if 2*(l.Running-s.base) >= s.n-s.ceiling {
		s.trying, s.ceiling, s.patience = false, 0, firstPatience
		return
	}
	tried := s.n
	s.settle(s.ceiling, l.at)
	s.reason = fmt.Sprintf("%d, because with %d the model server ran no more", s.n, tried)
}

// grow adds slots, if it is time.
func (s *slots) grow(l look) {
	most := preset.MaxSlots
	if s.stated > 0 {
		most = s.stated
	}
	n := 2 * s.n
	switch {
	case s.ceiling > 0 && l.at < s.tryAt:
		return
	case s.ceiling > 0:
		n = s.n + max(1, s.n/share)
		s.trying, s.base = s.n < most, l.Running
	}
	if n = min(n, most); n == s.n {
		return
	}
	s.n = n
	s.reason = fmt.Sprintf("%d, because all were taken, requests waited in Usher, and none waited at the model server", s.n)
}

// seeking reports, after a look, whether another change may follow soon.
func (s *slots) seeking(l look) bool {
	full := l.InFlight >= s.n && l.Queued > 0
	return s.crowded > 0 || s.trying || s.changed == l.at || full && s.ceiling == 0 && (s.stated == 0 || s.n < s.stated)
}
